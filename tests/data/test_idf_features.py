import numpy as np
import pytest
import scipy.sparse as sp
import torch
from reference.graphs import Given

from medgraph.data.graphs import make_graph
from medgraph.data.idf_features import IdfFeatures

WORDS = np.array([[1, 1, 0, 0, 0, 0, 0], [1, 0, 2, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0], [0, 0, 2, 0, 0, 0, 0]], float)
EDGES = {("paper", "to", "author"): np.array([[0, 1, 2, 3], [0, 0, 1, 1]])}


def source(**features):
    return Given(make_graph("paper", {"paper": 4, "author": 2}, EDGES, features, metapaths=["pap"], normalize=False))


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("make", [np.asarray, sp.csr_matrix])
def test_words_of_few_nodes_weigh_more_and_rows_keep_their_sums(make, power):
    given = source(paper=make(WORDS))
    found = IdfFeatures(given, power).graph.data["paper"].x.to_dense().double()
    idf = np.log(5 / np.array([3, 1, 2, 1, 1, 1, 1]))  # of a column without words nothing is seen
    expected = WORDS * idf**power
    expected *= WORDS.sum(1, keepdims=True) / expected.sum(1, keepdims=True)
    torch.testing.assert_close(found, torch.from_numpy(expected), atol=1e-6, rtol=0)
    assert torch.equal(given.graph.data["paper"].x.to_dense(), torch.from_numpy(WORDS).float())


def test_a_word_of_all_nodes_weighs_little_but_never_nothing():
    words = np.zeros((4, 9))
    words[:, 0] = 1
    words[0, 1] = 1
    found = IdfFeatures(source(paper=words), 1.0).graph.data["paper"].x.to_dense()
    assert found[1, 0] == 1  # its only word: the row keeps its sum
    torch.testing.assert_close(found[0, 0] / found[0, 1], torch.tensor(np.log(5 / 4) / np.log(5)).float())


def test_numbers_embeddings_and_single_choices_stay_as_they_are(rng):
    numbers, signed = torch.rand(4, 5, generator=rng).numpy(), WORDS * np.array([[1], [-1], [1], [1]])
    for features in (numbers, signed, np.eye(4, 9), np.zeros((4, 3))):
        given = source(paper=features, author=np.eye(2, 7))
        found = IdfFeatures(given, 1.0)
        assert found.spec == given.spec
        assert torch.equal(found.graph.data["paper"].x.to_dense(), given.graph.data["paper"].x.to_dense())
        assert torch.equal(found.graph.data["author"].x.to_dense(), torch.eye(2, 7))


def test_power_is_between_0_and_1():
    with pytest.raises(ValueError, match="power: expected a number from 0"):
        IdfFeatures(source(paper=WORDS), 1.5)
