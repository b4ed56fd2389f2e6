"""What a stage chose, with features averaged over neighbors where validation says so."""

import json

import numpy as np
import pytest
import torch
from reference.candidates import SOURCE, choosing, chosen_anew, embedded

import medgraph
from medgraph import config
from medgraph.errors import ConfigError
from medgraph.hetero.smoothed import averaged, nearest
from medgraph.runner import checkpoint, kept
from medgraph.runner.encoder_folder import WEIGHTS, read_facts
from medgraph.runner.handover import check_handovers
from medgraph.runner.kept import ALL, ALONE, told

ENCODER = "name: metapath, dim: 8"
CHOICE = """
join: true
smooth:
  once: {num_neighbors: 12}
  far: {num_neighbors: 5, rounds: 3, symmetric: true}
candidates:
  plain: {}
  few: {data.top_k: [2]}
"""
NAMES = ("plain", "few")


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    path = tmp_path_factory.mktemp("smoothing") / "smoothing.yaml"
    path.write_text(choosing(ENCODER, 3, CHOICE))
    return path


@pytest.fixture(scope="module")
def finished(pipeline):
    return medgraph.run(pipeline, out=pipeline.parent / "run", device="cpu")


WAYS = {"once": (12, 1, False), "far": (5, 3, True)}  # neighbors, rounds, symmetric


def test_the_best_of_all_that_may_be_kept_is_kept_and_scored(finished, tmp_path):
    path, choice = chosen_anew(finished, tmp_path / "run", 10.0)
    assert choice["best"] == "plain"
    features = features_of_all(path, tmp_path)
    assert list(choice["made"]) == list(features)
    assert min(choice["made"].values()) > 40
    kept = max(features, key=lambda name: choice["made"][name])
    np.testing.assert_allclose(embedded(path / "encoder", tmp_path / "kept"), features[kept], atol=1e-6)
    (row,) = json.loads((path.parent / "probe" / "scores.json").read_text())["rows"]
    assert row["validation_macro_f1"] == pytest.approx(choice["made"][kept], abs=1e-9)
    for page in (path / "encoder" / "README.md", path.parent / "report.html"):
        assert told(choice) in page.read_text()


def features_of_all(path, tmp_path):
    """Of all that may be kept, from what the candidates give."""
    alone = [embedded(path / name / "encoder", tmp_path / name) for name in NAMES]
    both = np.concatenate(alone, axis=1) / 2**0.5
    features = {f"smoothed {way}": mean_of(alone[0], way) for way in WAYS} | {ALL: both}
    return features | {f"{ALL}, smoothed {way}": mean_of(both, way) for way in WAYS}


def mean_of(features, way):
    num_neighbors, *how = WAYS[way]
    features = torch.from_numpy(features)
    return averaged(features, nearest(features, num_neighbors), *how).numpy()


def test_each_is_scored_as_the_encoder_that_it_becomes(finished, tmp_path, monkeypatch):
    """Each in turn is made the one that is kept."""
    first, choice = chosen_anew(finished, tmp_path / "run", 10.0)
    features = features_of_all(first, tmp_path)
    for number, name in enumerate(choice["made"]):
        monkeypatch.setattr(kept, "kept_of", lambda choice, name=name: name if name in choice["made"] else ALONE)
        path, _ = chosen_anew(finished, tmp_path / f"run-{number}", 10.0)
        np.testing.assert_allclose(embedded(path / "encoder", tmp_path / str(number)), features[name], atol=1e-6)
        (row,) = json.loads((path.parent / "probe" / "scores.json").read_text())["rows"]
        assert row["validation_macro_f1"] == pytest.approx(choice["made"][name], abs=1e-9)


@pytest.fixture(scope="module")
def smoothed(finished, tmp_path_factory):
    """A stage without `join`, which keeps the best candidate smoothed."""
    path = tmp_path_factory.mktemp("alone") / "alone.yaml"
    path.write_text(choosing(ENCODER, 3, CHOICE.replace("join: true\n", "")))
    run = medgraph.run(path, out=path.parent / "first", device="cpu")
    stage, choice = chosen_anew(run, path.parent / "run", 10.0)
    assert list(choice["made"]) == ["smoothed once", "smoothed far"]
    return stage, max(WAYS, key=lambda way: choice["made"][f"smoothed {way}"])


def test_the_best_alone_is_smoothed_and_its_weights_are_those_trained(smoothed, tmp_path):
    smoothed, way = smoothed
    facts = read_facts(smoothed / "encoder")
    assert facts["encoder"]["name"] == "smoothed"
    assert facts["facts"]["data"] == read_facts(smoothed / "plain" / "encoder")["facts"]["data"]
    own, _ = checkpoint.read_tensors(smoothed / "encoder" / WEIGHTS)
    trained, _ = checkpoint.read_tensors(smoothed / "plain" / "encoder" / WEIGHTS)
    assert own.keys() == {f"encoder.{name}" for name in trained}
    assert all(torch.equal(own[f"encoder.{name}"], value) for name, value in trained.items())
    alone = embedded(smoothed / "plain" / "encoder", tmp_path / "alone")
    np.testing.assert_allclose(embedded(smoothed / "encoder", tmp_path / "kept"), mean_of(alone, way), atol=1e-6)
    assert f"plain is kept, smoothed {way}, with" in (smoothed / "encoder" / "README.md").read_text()
    assert "Attention of each meta-path" in (smoothed.parent / "report.html").read_text()


def test_another_graph_is_averaged_over_its_own_neighbors(smoothed, tmp_path):
    smoothed, way = smoothed
    with pytest.warns(UserWarning, match="the graph is not the one trained on"):
        kept = embedded(smoothed / "encoder", tmp_path / "kept", changes=["source.graph_seed=4"])
    with pytest.warns(UserWarning, match="the graph is not the one trained on"):
        alone = embedded(smoothed / "plain" / "encoder", tmp_path / "alone", changes=["source.graph_seed=4"])
    np.testing.assert_allclose(kept, mean_of(alone, way), atol=1e-6)


def test_one_alone_is_kept_where_smoothing_is_not_better(finished, tmp_path):
    path, choice = chosen_anew(finished, tmp_path / "run", 100.0)
    assert (path / "encoder" / WEIGHTS).read_bytes() == (path / "plain" / "encoder" / WEIGHTS).read_bytes()
    assert told(choice).startswith("plain is kept, with 100.00 on validation; few 100.00; smoothed once ")
    assert told(choice).endswith(f"; {ALL}, smoothed far {choice['made'][f'{ALL}, smoothed far']:.2f}")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (["smooth.far.num_neighbors=1"], "smooth.far.num_neighbors: expected 2 or more, got 1"),
        (["smooth.far.rounds=0"], "smooth.far.rounds: expected 1 or more, got 0"),
        (["smooth.far={round: 2}"], "smooth.far.round: Smooth has no such parameter; did you mean 'rounds'"),
        (["smooth.far={rounds: 2}"], "smooth.far: missing key 'num_neighbors'"),
        (["smooth=10"], "smooth: expected dict.* got 10"),
        (
            ["join=false", "candidates.few={data.name: metapath_batches}"],
            "smooth: expected candidates on metapath_views, whose features are of a whole graph; got metapath on",
        ),
    ],
)
def test_what_cannot_be_smoothed_is_told_before_anything_is_trained(pipeline, changes, expected):
    with pytest.raises(ConfigError, match=expected):
        config.dry_build(config.load(pipeline, [f"pretrain.choose.{change}" for change in changes]))


def test_a_stage_that_would_train_on_from_averages_is_refused(tmp_path):
    path = tmp_path / "fine.yaml"
    path.write_text(choosing(ENCODER, 3, CHOICE.replace("join: true\n", ""), finetune=True))
    expected = r"finetune\.start_from: stage 'pretrain' may average its .* Set pretrain\.choose\.smooth to null"
    with pytest.raises(ConfigError, match=expected):
        check_handovers(config.load(path))
    check_handovers(config.load(path, ["pretrain.choose.smooth=null", "pretrain.choose.candidates.few={}"]))
    probed = tmp_path / "probed.yaml"
    probed.write_text(choosing(ENCODER, 3, CHOICE.replace("join: true\n", "")))
    check_handovers(config.load(probed, [f"probe.data={{name: metapath_views, source: {SOURCE}, top_k: [5]}}"]))
