"""SeparationScores: what perfect, blind and single encoders get; missing and constant attributes."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from reference.separation_data import Blind, FactorData, SplitEncoder, Whole, scores_of

from medgraph.data.grouped import Attribute, GroupedImages
from medgraph.evaluation import separation
from medgraph.evaluation.separation import SeparationScores


@pytest.fixture(autouse=True)
def _no_picture(monkeypatch, request):
    if "perfect" not in request.node.name:
        monkeypatch.setattr(separation.space_plot, "plot_spaces", lambda *_: "")
        monkeypatch.setattr(separation.retrieval_plot, "plot_neighbors", lambda *_: "")


class Weighted(torch.nn.Module):
    """All four pixels, each times a weight."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Linear(4, 4)

    def forward(self, images):
        return self.scale(images.flatten(1))


QUICK = {"probes": ("linear",), "with_pca": False}


def test_a_perfect_encoder_has_its_scores_where_they_belong():
    rows, found = scores_of(SplitEncoder(), FactorData(), probes=("linear", "neighbors"))
    for probe in ("linear", "neighbors"):
        assert rows["age, R squared", f"common, {probe}"]["score"] > 0.7
        assert rows["radius, R squared", f"salient, {probe}"]["score"] > 0.7
        assert rows["kind, balanced accuracy", f"salient, {probe}"]["score"] > 0.9
        assert rows["group, AUC", f"salient, {probe}"]["score"] > 0.9
        assert abs(rows["kind, balanced accuracy", f"common, {probe}"]["score"] - 0.5) < 0.15
        assert rows["radius, R squared", f"common, {probe}"]["score"] < 0.2
        assert rows["radius, gap", f"common and salient, {probe}"]["score"] > 0.7
    row = rows["group, AUC", "common, linear"]
    assert row["low"] <= row["score"] <= row["high"]
    assert row["chance"] == 0.5
    assert rows["delta", "common and salient, linear"]["score"] < 1.5
    assert abs(rows["dependence, HSIC", "common and salient"]["score"]) < 0.2
    assert rows["dependence, HSIC", "common and salient"]["p_value"] > 0.05
    assert rows["norm, background over target", "salient"]["score"] == 0
    assert all(figure["png"].startswith("iVBOR") for figure in found.figures)
    assert ["nearest neighbors" in figure["title"] for figure in found.figures] == [False, True]


def test_rows_hold_their_scores_over_resampled_subjects():
    rows, found = scores_of(SplitEncoder(), FactorData(), **QUICK)
    drawn = {(one["case"], one["label"]): one["scores"] for one in found.resampled}
    for place in (("group, AUC", "common, linear"), ("radius, gap", "common and salient, linear")):
        assert rows[place]["low"] == pytest.approx(np.percentile(drawn[place], 2.5), abs=1e-4)
        assert rows[place]["high"] == pytest.approx(np.percentile(drawn[place], 97.5), abs=1e-4)
    delta = rows["delta", "common and salient, linear"]
    assert delta["low"] < delta["score"] < delta["high"]


def test_choices_are_made_on_the_validation_part():
    class Parts(FactorData):
        def validation(self):
            return self._part(3)

    test, validation = (scores_of(SplitEncoder(), Parts(), part=part, **QUICK)[0] for part in ("test", "validation"))
    place = "age, R squared", "common, linear"
    assert test[place]["score"] != validation[place]["score"]


def test_an_encoder_with_weights_is_compared_with_itself_untrained():
    rows, _ = scores_of(Weighted(), FactorData(), **QUICK)
    assert ("age, R squared", "untrained single, linear") in rows
    assert ("radius, gap", "untrained single, linear") in rows
    without, _ = scores_of(Weighted(), FactorData(), with_untrained=False, **QUICK)
    assert not any(label.startswith("untrained") for _, label in without)
    place = "radius, gap", "single, linear"
    assert rows[place] == without[place]  # what is read beside moves no figure


def test_each_dimension_that_was_trained_on_an_attribute_is_probed_alone():
    data = FactorData()
    model = SimpleNamespace(encoder=SplitEncoder(), attribute_names=("radius", "kind"))
    found = SeparationScores(**QUICK).evaluate(model, data)
    rows = {(row["case"], row["label"]): row["score"] for row in found.rows}
    assert rows["radius, R squared", "dimension 1 (radius), linear"] > 0.7
    assert rows["radius, R squared", "dimension 2 (kind), linear"] < 0.2
    assert rows["kind, balanced accuracy", "dimension 2 (kind), linear"] > 0.9
    assert rows["age, R squared", "dimension 1 (radius), linear"] < 0.2
    assert rows["DCI", "disentanglement"] > 0.8
    assert rows["DCI", "completeness"] > 0.8
    assert "salient dimension alone" in found.figures[2]["title"]


def test_cheap_peers_are_probed_beside():
    rows, _ = scores_of(SplitEncoder(), FactorData(), probes=("linear",))
    assert rows["age, R squared", "PCA, linear"]["examples"] == 100
    assert ("radius, gap", "PCA and contrastive PCA, linear") in rows


def test_a_blind_encoder_is_at_chance():
    rows, _ = scores_of(Blind(), FactorData(), **QUICK)
    assert rows["group, AUC", "common, linear"]["score"] == 0.5
    assert rows["kind, balanced accuracy", "salient, linear"]["score"] == 0.5
    assert abs(rows["age, R squared", "common, linear"]["score"]) < 0.1
    assert abs(rows["age, gap", "common and salient, linear"]["score"]) < 0.5


def test_an_encoder_without_parts_is_one_space_without_gap():
    rows, _ = scores_of(Whole(), FactorData(), **QUICK)
    assert rows["radius, R squared", "single, linear"]["score"] > 0.9
    assert rows["radius, gap", "single, linear"]["score"] == 0
    assert not any("common" in label for _, label in rows)


def test_common_attributes_are_probed_on_the_background_too():
    rows, _ = scores_of(SplitEncoder(), FactorData(), **QUICK)
    assert rows["age, R squared", "salient on background, linear"]["score"] < 0.1
    assert rows["age, R squared", "salient on background, linear"]["examples"] == 100


class Projected:
    """The toy encoder, and codes that are ten times its features."""

    def __init__(self):
        self.encoder = SplitEncoder()

    def eval(self):
        return self

    def to(self, device):
        return self

    def codes(self, common, salient):
        """Both, larger."""
        return self.encoder.parts(torch.cat([10 * common, 10 * salient], dim=1))


def test_codes_are_judged_like_features_and_the_backgrounds_salient_one_also_under_noise():
    found = SeparationScores(**QUICK).evaluate(Projected(), FactorData())
    rows = {(row["case"], row["label"]): row for row in found.rows}
    for mark in ("", " z", " z with noise"):
        row = rows["age, R squared", f"salient{mark} on background, linear"]
        assert row["examples"] == 100
        assert row["score"] < 0.1
        assert rows["radius, R squared", f"salient{mark}, linear"]["score"] > 0.7
    assert rows["age, R squared", "common z, linear"]["score"] > 0.7
    assert rows["norm, background over target", "salient z"]["score"] == 0
    features, codes = (rows["dependence, HSIC", f"common{mark} and salient{mark}"] for mark in ("", " z"))
    assert codes["score"] == pytest.approx(features["score"], abs=1e-6)  # a scale that medians take out
    assert codes["low"] <= codes["chance"] <= codes["high"]
    assert codes["p_value"] > 0.05


def test_what_a_small_code_says_is_lost_under_noise_of_a_tenth_of_the_targets():
    class Whisper(SplitEncoder):
        def parts(self, images):
            """The background's salient code is its age, a thousand times smaller than the targets' code."""
            common, salient = super().parts(images)
            return type(super().parts(images))(common, salient + 1e-3 * common[:, :1])

    model = Projected()
    model.encoder = Whisper()
    found = SeparationScores(**QUICK).evaluate(model, FactorData())
    rows = {(row["case"], row["label"]): row["score"] for row in found.rows}
    assert rows["age, R squared", "salient on background, linear"] > 0.99
    assert rows["norm, background over target", "salient"] < 0.01
    assert rows["age, R squared", "salient z with noise on background, linear"] < 0.1


def test_probes_of_targets_never_see_the_background():
    class Spoiled(FactorData):
        def _part(self, seed):
            data = super()._part(seed)
            images = data.__getitems__(range(len(data))).images.clone()
            images[~data.is_target] = 1e3 * torch.randn(images[~data.is_target].shape)
            facts = data.attributes.clone()
            facts[~data.is_target] *= -7  # the common attribute of the background turned round
            return GroupedImages(lambda rows: images[rows], data.is_target, facts, data.subjects, "spoiled")

    plain, spoiled = (scores_of(SplitEncoder(), data, **QUICK)[0] for data in (FactorData(), Spoiled()))
    seen = [
        place
        for place in plain
        if "on background" not in place[1] and place[0].startswith(("age, R", "radius, R", "kind, b"))
    ]
    assert len(seen) == 6
    for place in seen:
        assert spoiled[place] == plain[place]
    assert spoiled["group, AUC", "common, linear"] != plain["group, AUC", "common, linear"]


def test_gap_and_delta_take_the_chance_of_the_targets_whose_classes_the_background_may_lack():
    class Sites(FactorData):
        attributes = (Attribute("site", "common", 3),)

        def _part(self, seed):
            data = super()._part(seed)
            site = torch.arange(self.n) // 2 % 3
            site[~data.is_target] %= 2
            images = data.__getitems__(range(len(data))).images.clone()
            images[:, 0, 0, 0] = 9.0 * (site == 0)
            images[:, 0, 0, 1] = 9.0 * (site == 1)
            images[:, 0, 1, 0] += 9.0 * (site == 2)  # what the salient code should not tell
            return GroupedImages(lambda rows: images[rows], data.is_target, site[:, None].float(), data.subjects, "toy")

    rows, _ = scores_of(SplitEncoder(), Sites(), **QUICK)
    case = "site, balanced accuracy"
    right, wrong = (rows[case, f"{space}, linear"]["score"] for space in ("common", "salient"))
    assert rows[case, "salient on background, linear"]["chance"] == 1 / 2
    assert (right, rows[case, "common, linear"]["chance"]) == (1, pytest.approx(1 / 3))
    assert 0.5 < wrong < 0.9
    assert rows["site, gap", "common and salient, linear"]["score"] == pytest.approx((1 - wrong) / (1 - 1 / 3))
    group = [rows["group, AUC", f"{space}, linear"]["score"] for space in ("salient", "common")]
    delta = wrong - 1 / 3 + 1 - group[0] + max(group[1], 0.5) - 0.5
    assert rows["delta", "common and salient, linear"]["score"] == pytest.approx(delta)


def test_dependence_takes_one_target_of_each_subject():
    class Patches(FactorData):
        def _part(self, seed):
            data = super()._part(seed)
            data.subjects //= 4
            return data

    rows, _ = scores_of(SplitEncoder(), Patches(), **QUICK)
    assert rows["dependence, HSIC", "common and salient"]["examples"] == 25


def test_numbers_have_their_mean_absolute_error_and_categories_have_none():
    rows, _ = scores_of(SplitEncoder(), FactorData(), **QUICK)
    row = rows["age, R squared", "common, linear"]
    assert row["mae"] < 0.2 * row["mae_of_mean"]
    assert rows["age, R squared", "salient, linear"]["mae"] > 0.8 * row["mae_of_mean"]
    assert "mae" not in rows["kind, balanced accuracy", "salient, linear"]


def test_a_probe_may_be_fitted_on_all_examples_or_on_fewer():
    many, few, all_of_them = (
        scores_of(SplitEncoder(), FactorData(), most_fitted=n, **QUICK)[0] for n in (3000, 12, None)
    )
    place = "age, R squared", "salient, linear"
    assert many[place] == all_of_them[place]
    assert few[place] != many[place]


def test_missing_values_leave_fewer_examples_and_say_how_many():
    def forget(attributes):
        attributes[:50, 0] = torch.nan

    rows, _ = scores_of(SplitEncoder(), FactorData(change=forget), **QUICK)
    assert rows["age, R squared", "common, linear"]["examples"] == 75
    assert rows["radius, R squared", "common, linear"]["examples"] == 100


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (7.0, r"attribute 'age' is constant in the training part \(7 for all 100 examples\): it is left out"),
        (torch.nan, "attribute 'age' is known for 0 training examples, expected 10 or more: it is left out"),
    ],
)
def test_a_useless_attribute_is_left_out_with_a_warning(value, message):
    def spoil(attributes):
        attributes[:, 0] = value

    with pytest.warns(UserWarning, match=message):
        rows, _ = scores_of(SplitEncoder(), FactorData(change=spoil), **QUICK)
    assert not any(case.startswith("age") for case, _ in rows)
    assert any(case.startswith("radius") for case, _ in rows)


def test_an_attribute_that_is_constant_in_the_test_part_alone_is_left_out():
    class OfOneAge(FactorData):
        def test(self):
            data = super().test()
            data.attributes[:, 0] = 3.0
            return data

    with pytest.warns(
        UserWarning, match=r"'age' is constant in the test part \(3 for all 100 examples\): it is left out"
    ):
        rows, _ = scores_of(SplitEncoder(), OfOneAge(), **QUICK)
    assert not any(case.startswith("age") for case, _ in rows)
    assert any(case.startswith("radius") for case, _ in rows)


def test_a_class_that_training_lacks_leaves_the_attribute_out():
    def spoil(attributes):
        if spoil.part == "train":
            attributes[attributes[:, 2] == 1, 2] = 2
        spoil.part = "test"

    spoil.part = "train"
    with pytest.warns(UserWarning, match="'kind' has classes in the test part that no training example has"):
        scores_of(SplitEncoder(), FactorData(change=spoil), **QUICK)


def test_of_too_small_a_test_part_the_groups_are_told_apart_and_the_rest_is_left_out(recwarn):
    warnings.simplefilter("always")
    rows, _ = scores_of(SplitEncoder(), FactorData(n=16), **QUICK)
    told = [str(warning.message) for warning in recwarn]
    assert sum("8 targets in the scored part, expected 10 or more: whether the codes depend" in text for text in told)
    cases = {case for case, _ in rows}
    assert "group, AUC" in cases
    assert not any("dependence" in case for case in cases)
    assert all(np.isfinite(row["score"]) for row in rows.values())


def test_refuses_wrong_arguments():
    with pytest.raises(ValueError, match="probes: expected one of 'linear', 'neighbors', 'rbf', 'mlp', got 'tree'"):
        SeparationScores(probes=("tree",))
    with pytest.raises(ValueError, match="number of probes: expected 1 or more, got 0"):
        SeparationScores(probes=())
    with pytest.raises(ValueError, match="most_fitted: expected 10 or more, got 5"):
        SeparationScores(most_fitted=5)
    with pytest.raises(ValueError, match="part: expected one of 'test', 'validation', got 'train'"):
        SeparationScores(part="train")
