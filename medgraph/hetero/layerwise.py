"""Both views of every target of a stored graph, layer by layer over all neighbours kept, in blocks of rows."""

import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medgraph.hetero.encoder import MetapathEncoder, TypeProjection
from medgraph.hetero.row_store import RowStore
from medgraph.hetero.stored import EdgeMasks, StoredFeatures, StoredPath, StoredViews, blocks

_ROWS = 2**16  # rows worked on at once where no entries count
_Values = Callable[[Tensor, Tensor], Tensor]


class Layerwise:
    """One pass of an encoder over a stored graph, without dropout or gradient.

    A few matrices (targets, dim) are held at a time; everything else exists for one block of rows.

    Args:
        encoder: Its weights are used as they are.
        stored: The graph; masked copies are those of the first round.
    """

    def __init__(self, encoder: MetapathEncoder, stored: StoredViews):
        self.encoder, self.stored = encoder, stored
        self.device = encoder.first.device
        self.masks = stored.masks(stored.first_round)
        self.projected = {name: self._project(name, stored.features[name]) for name in encoder.projections}

    @torch.no_grad()
    def fine(self) -> Iterator[Tensor]:
        """Unit rows (n, dim) of each view: of every path its clean copy, then its masked one."""
        target = self.projected[self.stored.target_type]
        masked = self._masked_projection() if self.masks else None
        for index, path in enumerate(self.stored.paths):
            context = self._context(path)
            yield self._view(F.elu(target + context), [path.edges], None)
            if masked is not None:
                yield self._view(F.elu(masked + context), [path.edges], self.masks[index])

    @torch.no_grad()
    def coarse(self) -> Tensor:
        """The view (n, dim) of the mean of all meta-path graphs."""
        graphs = [path.edges for path in self.stored.paths]
        return self._layers(self.projected[self.stored.target_type], graphs, None)

    def _view(self, features: Tensor, graphs: list[RowStore], masks: EdgeMasks | None) -> Tensor:
        return F.normalize(self._layers(features, graphs, masks), dim=1)

    def _layers(self, features: Tensor, graphs: list[RowStore], masks: EdgeMasks | None) -> Tensor:
        encoder = self.encoder
        hidden = self._sum(features @ encoder.first, graphs, masks, lambda x: encoder.activate(x) @ encoder.second)
        return self._sum(hidden, graphs, masks, encoder.normed)

    def _sum(
        self, x: Tensor, graphs: list[RowStore], masks: EdgeMasks | None, after: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """`after` of each row's mean over graphs of its sum over neighbours (n, d)."""
        found = torch.empty(self.stored.num_targets, x.shape[1], device=self.device)
        ranges = blocks(graphs[0]) if len(graphs) == 1 else _even(self.stored.num_targets)
        for start, stop in ranges:
            total = sum(_product(graph, start, stop, x, masks) for graph in graphs)
            found[start:stop] = after(total / len(graphs))  # type: ignore[arg-type]
        return found

    def _project(self, name: str, features: StoredFeatures, stays: _Values | None = None) -> Tensor:
        """ELU of the projected features of all nodes of a type (n, dim)."""
        projection = cast(TypeProjection, self.encoder.projections[name])
        weight, bias = projection.weight, projection.bias
        if features is None:
            rows = torch.arange(len(weight))
            return F.elu((weight if stays is None else weight * stays(rows, rows)[:, None].to(weight)) + bias)
        found = torch.empty(len(features), weight.shape[1], device=self.device)
        for start, stop in blocks(features) if isinstance(features, RowStore) else _even(len(features)):
            if isinstance(features, RowStore):
                part = _product(features, start, stop, weight, stays)
            else:
                part = _masked_block(features, start, stop, stays).to(self.device) @ weight
            found[start:stop] = F.elu(part + bias)
        return found

    def _masked_projection(self) -> Tensor:
        name = self.stored.target_type
        stays = partial(self.stored.feature_stays, self.stored.first_round)
        return self._project(name, self.stored.features[name], stays)

    def _context(self, path: StoredPath) -> Tensor:
        """What all intermediate positions add (n, dim)."""
        total = torch.zeros(self.stored.num_targets, self.encoder.out_dim, device=self.device)
        layers = cast(nn.ModuleList, self.encoder.contexts[path.name])
        for (node_type, factors), layer in zip(path.context, layers, strict=True):
            x = self.projected[node_type]
            for factor in reversed(factors):
                x = torch.cat([_product(factor, start, stop, x) for start, stop in blocks(factor)])
            total += layer(x)
        return total


def _product(rows: RowStore, start: int, stop: int, x: Tensor, masks: EdgeMasks | _Values | None = None) -> Tensor:
    """Rows from `start` up to `stop`, times x; with masks, of the masked copy."""
    starts, columns, values = rows.block(start, stop)
    if masks is not None:
        owners = torch.repeat_interleave(torch.arange(start, stop), starts.diff())
        if isinstance(masks, EdgeMasks):
            values = masks.values(owners, columns.long())
        else:
            values = values * masks(owners, columns.long())
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support", category=UserWarning)
        shape = stop - start, rows.num_columns
        matrix = torch.sparse_csr_tensor(starts.int(), columns, values, size=shape, check_invariants=False)
    with torch.autocast(x.device.type, enabled=False):  # a CPU has no sparse product of half precision
        return matrix.to(x.device) @ x.float()


def _masked_block(features: Tensor, start: int, stop: int, stays: _Values | None) -> Tensor:
    part = features[start:stop]
    if stays is None:
        return part
    width = part.shape[1]
    owners = torch.arange(start, stop).repeat_interleave(width)
    return part * stays(owners, torch.arange(width).repeat(len(part))).view(-1, width)


def _even(num_rows: int) -> Iterator[tuple[int, int]]:
    for start in range(0, num_rows, _ROWS):
        yield start, min(start + _ROWS, num_rows)
