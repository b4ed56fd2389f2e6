"""The whole-graph views that a stored graph stands for, and batches of the planted graph."""

import scipy.sparse as sp
import torch
from hetero.planted import PlantedSource

from medgraph.hetero.batch import GraphViews, PathViews
from medgraph.hetero.batches import MetapathBatches
from medgraph.hetero.operators import Chain, SparseOperator
from medgraph.hetero.row_store import RowStore
from medgraph.hetero.sampled_encoder import SampledMetapathEncoder


def planted_batches(graph=None, **arguments) -> MetapathBatches:
    """Batches of the planted graph, with all neighbours unless asked otherwise."""
    settings = {
        "top_k": (20, 30),
        "feature_mask": 0.2,
        "edge_masks": (0.2,),
        "fan_out": None,
        "context_fan_out": None,
        **arguments,
    }
    return MetapathBatches(PlantedSource(graph), **settings)


def sampled_encoder(data, **arguments) -> SampledMetapathEncoder:
    """A small encoder, seeded."""
    torch.manual_seed(0)
    return SampledMetapathEncoder(data.spec, **{"dim": 16, "dropout": 0.0, **arguments})


def matrix(rows: RowStore, values=None) -> sp.csr_matrix:
    """A stored matrix, with other values if given."""
    values = rows.values if values is None else values
    return sp.csr_matrix((values.numpy(), rows.columns.numpy(), rows.starts.numpy()), (len(rows), rows.num_columns))


def owners(rows: RowStore) -> torch.Tensor:
    """Row of each entry."""
    return torch.repeat_interleave(torch.arange(len(rows)), rows.starts.diff())


def whole_views(stored, number=0) -> GraphViews:
    """The same views as constant operators, with the masks of a round."""
    masks, paths = stored.masks(number), []
    for index, path in enumerate(stored.paths):
        masked = None
        if masks:
            masked = SparseOperator(
                matrix(path.edges, masks[index].values(owners(path.edges), path.edges.columns.long()))
            )
        context = tuple(
            (name, Chain([SparseOperator(matrix(factor)) for factor in factors])) for name, factors in path.context
        )
        paths.append(PathViews(path.name, SparseOperator(matrix(path.edges)), masked, context))
    features = {
        name: SparseOperator(matrix(value)) if isinstance(value, RowStore) else value
        for name, value in stored.features.items()
    }
    own = stored.features[stored.target_type]
    if isinstance(own, RowStore):
        stays = stored.feature_stays(number, owners(own), own.columns.long())
        masked_features = SparseOperator(matrix(own, own.values * stays))
    elif own is None:
        ids = torch.arange(stored.num_targets)
        masked_features = SparseOperator(sp.diags(stored.feature_stays(number, ids, ids).numpy().astype("float32")))
    else:
        rows, columns = (x.reshape(-1) for x in torch.meshgrid(*(torch.arange(n) for n in own.shape), indexing="ij"))
        masked_features = own * stored.feature_stays(number, rows, columns).view(own.shape)
    return GraphViews(
        stored.target_type, torch.arange(stored.num_targets), features, tuple(paths), masked_features if masks else None
    )
