import math

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from reference.graphs import random_graph

from medgraph.data import sparse
from medgraph.transforms.graph_masks import EdgeMask, FeatureMask
from medgraph.transforms.metapaths import top_k_neighbours

FRACTIONS = [0.0, 0.3, 0.55, 1.0]


@pytest.fixture
def features():
    rng = np.random.default_rng(0)
    return sp.random(20, 12, density=0.3, format="csr", rng=rng, dtype=np.float32)


@pytest.fixture
def matrix():
    return top_k_neighbours(random_graph(), "psp", 6)


@pytest.mark.parametrize("fraction", FRACTIONS)
def test_feature_mask_zeroes_the_exact_number_of_entries(features, fraction):
    mask, tensor = FeatureMask(fraction), sparse.to_torch(features)
    masked = mask.apply(tensor, mask.draw(0, 0, tensor))
    changed = masked.to_dense() != tensor.to_dense()
    assert changed.sum() == math.floor(fraction * features.nnz)
    assert (masked.to_dense()[changed] == 0).all()
    assert masked.layout == torch.sparse_csr


def test_dense_and_sparse_features_are_masked_alike(features):
    features.data[3] = 0  # a stored zero is no entry
    mask, tensor = FeatureMask(0.4), sparse.to_torch(features)
    record = mask.draw(3, 1, tensor)
    dense = tensor.to_dense()
    assert torch.equal(record["dropped"], mask.draw(3, 1, dense)["dropped"])
    assert torch.equal(mask.apply(dense, record), mask.apply(tensor, record).to_dense())
    assert not torch.equal(mask.apply(dense, record), dense)  # the input stays as it is


@pytest.mark.parametrize("fraction", FRACTIONS)
def test_edge_mask_keeps_the_exact_number_of_edges_and_the_whole_diagonal(matrix, fraction):
    mask = EdgeMask(fraction)
    masked = mask.apply(matrix, mask.draw(0, 0, matrix))
    edges = matrix.nnz - (matrix.diagonal() != 0).sum()
    assert masked.nnz - 30 == edges - math.floor(fraction * edges)
    np.testing.assert_array_equal(masked.diagonal(), 1)
    assert set(masked.data.tolist()) == {1.0}
    assert ((masked.toarray() > 0) <= ((matrix.toarray() > 0) | np.eye(30, dtype=bool))).all()


def test_features_are_masked_anew_for_another_seed_or_epoch(features):
    mask, tensor = FeatureMask(0.5), sparse.to_torch(features)
    drawn = [mask.draw(seed, epoch, tensor)["dropped"] for seed, epoch in ((1, 2), (1, 2), (2, 2), (1, 3))]
    assert torch.equal(drawn[0], drawn[1])
    assert not any(torch.equal(drawn[0], other) for other in drawn[2:])


def test_draws_depend_on_seed_epoch_and_stream_only(matrix):
    mask = EdgeMask(0.5)
    draw = [mask.draw(seed, epoch, matrix, stream)["dropped"] for seed, epoch, stream in ((1, 2, 0), (1, 2, 0))]
    assert torch.equal(*draw)
    for other in ((2, 2, 0), (1, 3, 0), (1, 2, 1)):
        assert not torch.equal(draw[0], mask.draw(*other[:2], matrix, other[2])["dropped"])


def test_every_edge_is_dropped_equally_often(matrix):
    mask = EdgeMask(0.5)
    draws = torch.cat([mask.draw(seed, 0, matrix)["dropped"] for seed in range(400)])
    edges = matrix.nnz - 30
    frequency = torch.bincount(draws, minlength=edges) / 400
    assert (frequency - 0.5).abs().max() < 5 * 0.5 / math.sqrt(400)


@pytest.mark.parametrize("made", [FeatureMask, EdgeMask])
def test_fraction_is_checked(made):
    with pytest.raises(ValueError, match=r"fraction: expected a number from 0.0 to 1.0, got 1.5"):
        made(1.5)
    assert repr(made(0.5)) == f"{made.__name__}(fraction=0.5)"
