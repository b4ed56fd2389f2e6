import numpy as np
import pytest
import torch

from medgraph.data.graphs import make_graph
from medgraph.hetero.context import context_of
from medgraph.hetero.operators import Chain, SparseOperator
from medgraph.transforms.metapaths import context_operators


def graph(conferences_per_paper):
    rng = np.random.default_rng(0)
    papers = np.repeat(np.arange(40), conferences_per_paper)
    conferences = np.concatenate([rng.choice(5, conferences_per_paper, replace=False) for _ in range(40)])
    writes = np.unique(np.stack([rng.integers(0, 12, 60), rng.integers(0, 40, 60)]), axis=1)
    return make_graph(
        "author",
        {"author": 12, "paper": 40, "conference": 5},
        {("author", "to", "paper"): writes, ("paper", "to", "conference"): np.stack([papers, conferences])},
        {"author": np.eye(12, dtype=np.float32)},
        metapaths=["apcpa"],
    )


@pytest.mark.parametrize(("per_paper", "form"), [(1, Chain), (2, SparseOperator)])
def test_reachable_means_are_exact_in_either_form(per_paper, form):
    made = graph(per_paper)
    path = made.metapath("apcpa")
    found = context_of(made, path, "reachable")
    assert [name for name, _ in found] == ["paper", "conference", "paper"]
    assert isinstance(found[2][1], form)
    for (_, operator), matrix in zip(found, context_operators(made, path, "reachable"), strict=True):
        torch.testing.assert_close(operator.dense(), torch.from_numpy(matrix.toarray()))


def test_factored_means_are_means_of_means():
    made = graph(1)
    path = made.metapath("apcpa")
    first, second = context_operators(made, path, "factored")[2]
    expected = torch.from_numpy((first @ second).toarray())
    torch.testing.assert_close(context_of(made, path, "factored")[2][1].dense(), expected)
