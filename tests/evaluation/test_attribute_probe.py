import dataclasses

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from medgraph.evaluation import attribute_probe
from medgraph.evaluation.attribute_probe import PROBES, ProbeData


def ring(n=300, seed=0):
    """Two classes that no line separates: inside and outside of a ring."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(2 * n, 2))
    values = (np.square(features).sum(axis=1) > 1.4).astype(float)
    return ProbeData(features[:n], values[:n], features[n:], values[n:], np.arange(n) // 3)


@pytest.mark.parametrize("probe", PROBES)
def test_only_nonlinear_probes_see_a_ring(probe):
    score = attribute_probe.probe_category(ring(), probe)
    assert score.chance == 0.5
    assert score.low <= score.score <= score.high
    if probe == "linear":
        assert score.score < 0.65
    else:
        assert score.score > 0.8


@pytest.mark.parametrize("probe", PROBES)
def test_numbers_are_scored_by_r_squared(probe):
    data = ring()
    linear = ProbeData(
        data.fit_features, 3 * data.fit_features[:, 0], data.features, 3 * data.features[:, 0], data.subjects
    )
    score = attribute_probe.probe_number(linear, probe)
    assert score.score > 0.6
    assert score.high <= 1
    expected = 1 if probe == "linear" else score.score
    assert score.score == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("probe", PROBES)
def test_groups_are_scored_by_auc(probe):
    data = ring()
    score = attribute_probe.probe_group(data, probe)
    assert 0 <= score.low <= score.score <= score.high <= 1
    assert score.score > 0.85 or probe == "linear"


def test_subjects_of_like_examples_give_a_wider_interval():
    data = ring()
    hard_first = np.argsort(np.abs(np.square(data.features).sum(axis=1) - 1.4))  # by their distance from the edge
    data = dataclasses.replace(data, features=data.features[hard_first], values=data.values[hard_first])
    few, single = (dataclasses.replace(data, subjects=np.arange(300) // size) for size in (60, 1))
    wide, narrow = (attribute_probe.probe_category(each, "neighbors") for each in (few, single))
    assert wide.score == narrow.score
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


def test_large_sets_are_fitted_on_a_part():
    whole, part, every = (dataclasses.replace(ring(), most_fitted=most) for most in (3000, 20, None))
    score = attribute_probe.probe_category(whole, "rbf").score
    assert 0.5 < attribute_probe.probe_category(part, "rbf").score < score
    assert attribute_probe.probe_category(every, "rbf").score == score


@pytest.mark.parametrize("start", [0.0, 1.7e9])
def test_dates_are_scored_like_the_days_between_them(start):
    rng = np.random.default_rng(0)
    features = rng.random((200, 3))
    days = features @ np.array([3.0, 1.0, 2.0]) + start
    data = ProbeData(features[:100], days[:100], features[100:], days[100:], np.arange(100))
    score = attribute_probe.probe_number(data, "linear")
    assert score.score == pytest.approx(1, abs=1e-6)
    assert score.resampled == pytest.approx(np.ones(300), abs=1e-6)


def test_numbers_have_a_mean_absolute_error_beside_that_of_their_mean():
    data = ring()
    blind = ProbeData(
        0 * data.fit_features, data.fit_features[:, 0], 0 * data.features, data.features[:, 0], data.subjects
    )
    found, by_mean = attribute_probe.probe_number(blind, "linear").errors
    assert by_mean == pytest.approx(np.abs(blind.values - blind.values.mean()).mean())
    assert found == pytest.approx(by_mean, rel=0.05)
    seeing = dataclasses.replace(blind, fit_features=data.fit_features, features=data.features)
    assert attribute_probe.probe_number(seeing, "linear").errors[0] < 0.01 * by_mean
    assert attribute_probe.probe_category(data, "linear").errors is None


def test_area_under_the_curve_equals_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    values, found = rng.integers(2, size=60), rng.integers(9, size=60) / 9.0
    weights = rng.integers(3, size=(4, 60)).astype(float)
    expected = [roc_auc_score(values, found, sample_weight=row) for row in weights]
    assert attribute_probe._auc(values, found, weights) == pytest.approx(expected)
    assert np.isnan(attribute_probe._auc(np.ones(60), found, weights)).all()
