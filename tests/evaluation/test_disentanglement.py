import base64

import numpy as np
import pytest

from medgraph.evaluation.disentanglement import dci, importances, plot_matrix


def test_one_dimension_for_each_attribute_is_perfect():
    found = dci(np.eye(4))
    assert found.disentanglement == pytest.approx(1)
    assert found.completeness == pytest.approx(1)


def test_equal_importances_are_none():
    found = dci(np.ones((3, 3)))
    assert found.disentanglement == pytest.approx(0)
    assert found.completeness == pytest.approx(0)


def test_a_dimension_that_holds_two_attributes_is_complete_but_not_disentangled():
    found = dci(np.array([[1.0, 1.0], [0.0, 0.0]]))  # the unused dimension weighs nothing
    assert found.disentanglement == pytest.approx(0)
    assert found.completeness == pytest.approx(1)


def test_one_attribute_or_none_that_matters_gives_nothing():
    assert dci(np.ones((3, 1))).completeness == 0
    assert dci(np.zeros((3, 3))).disentanglement == 0


def test_a_forest_finds_the_dimension_of_each_attribute_and_leaves_unknown_ones_out():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((300, 3))
    attributes = np.stack([features[:, 2], (features[:, 0] > 0).astype(float)], axis=1)
    attributes[:50, 0] = np.nan
    found = importances(features, attributes, [False, True])
    np.testing.assert_allclose(found.sum(axis=0), 1)
    assert found[2, 0] > 0.95
    assert found[0, 1] > 0.95


def test_a_matrix_is_drawn():
    assert base64.b64decode(plot_matrix(np.eye(2), ["one", "two"], ["x", "y"])).startswith(b"\x89PNG")
