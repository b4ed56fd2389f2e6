"""An encoder is shown what it was built for, or a line says what differs."""

import re
from dataclasses import replace

import pytest
from rich.console import Console

from medgraph import config
from medgraph.data.spec import ImageSpec, JoinedSpec, MetapathSpec
from medgraph.runner import sees
from medgraph.runner.export import export_encoder
from medgraph.runner.fitting import build_method

GRAY = ImageSpec(spatial_dims=2, channels=1, size=(16, 16), num_examples=9)
COLOR = replace(GRAY, channels=3)
PAPERS = MetapathSpec(
    "paper", {"paper": 9, "author": 5}, {"paper": 7, "author": 0}, 3, (), {"pap": ("author",), "psp": ()}
)


@pytest.mark.parametrize("spec", [GRAY, COLOR, PAPERS])
def test_alike_is_fine_in_any_size_and_number(spec):
    other = replace(spec, num_examples=4, size=(8, 8)) if isinstance(spec, ImageSpec) else replace(spec, num_classes=2)
    for check in (sees.unlike, sees.unlike_summed, sees.of_another_kind):
        assert check("a", spec, other) == []


def test_color_enters_gray_only_where_weights_are_handed_over():
    assert sees.unlike_summed("a", COLOR, GRAY) == sees.of_another_kind("a", COLOR, GRAY) == []
    told = "a, whose encoder takes 2D with 3 channels, but the data of this stage are 2D with 1 channel. "
    assert sees.unlike("a", COLOR, GRAY) == [told + "Prepare the data alike, or start from another encoder."]
    assert len(sees.unlike_summed("a", GRAY, COLOR)) == 1


@pytest.mark.parametrize(("encoder", "data"), [(GRAY, PAPERS), (PAPERS, GRAY)])
def test_images_are_no_graph(encoder, data):
    for check in (sees.unlike, sees.of_another_kind):
        (line,) = check("a", encoder, data)
        assert "a graph of 'paper'" in line
        assert "2D with 1 channel" in line


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"target_type": "author"}, "it embeds nodes of type paper, not author."),
        ({"feature_dims": {"paper": 8, "author": 0}}, "features of paper are 7 wide in training, 8 here."),
        ({"node_counts": {"paper": 9, "author": 6}}, "known by their number, but there are 5 in training, 6 here."),
        (
            {"context_types": {"pap": ()}},
            "its meta-paths are pap over author, psp over nothing, those of the graph pap over nothing.",
        ),
        ({"context_types": {"psp": (), "pap": ("author",)}}, "those of the graph psp over nothing, pap over author."),
        ({"path_feature_dims": {"psp": 3, "pap": 4}}, "features of paper for each meta-path are of another width."),
    ],
)
def test_graphs_that_differ_are_told_with_what_differs(changes, told):
    (line,) = sees.unlike("a", PAPERS, replace(PAPERS, **changes))
    assert line.startswith("a, whose encoder does not fit the graph of this stage: ")
    assert told in line
    assert sees.unlike("a", PAPERS, replace(PAPERS, node_counts={"paper": 2, "author": 5})) == []


def test_each_of_several_networks_has_to_see_what_it_was_built_for():
    wide = replace(PAPERS, feature_dims={"paper": 9, "author": 0})
    joined = JoinedSpec(**{**vars(PAPERS), "parts": (PAPERS, wide)})
    assert sees.graph_differences(joined, joined) == []
    other = JoinedSpec(**{**vars(PAPERS), "parts": (PAPERS, PAPERS)})
    assert sees.graph_differences(joined, other) == ["features of paper are 9 wide in training, 7 here"]
    assert "joins 2 networks" in sees.graph_differences(joined, PAPERS)[0]


@pytest.mark.parametrize(
    ("there", "here", "told"),
    [
        (True, False, "its encoder saw slices upright, the data of this stage lay them with rows and columns as they"),
        (False, True, r"saw slices with rows .* \(upright: false\), the data of this stage lay them upright\. Set"),
        (True, True, None),
        (None, True, None),  # images, or an encoder from elsewhere
    ],
)
def test_slices_that_lie_otherwise_than_in_pretraining_are_warned_of(tmp_path, recwarn, there, here, told):
    stages = config.load("smoke-volume", [f"segment.data.upright={here}".lower()]).stages
    first, stage = stages["intra"], stages["segment"]
    data = config.build(stage.data, "data", seed=0)
    own = stage.method["encoder"]
    known = {} if there is None else {"data": {**first.data, "upright": there}}
    export_encoder(tmp_path / "encoder", config.build(own, "encoders", spec=data.spec), own, data.spec, known)
    build_method(stage, data, 0, tmp_path / "encoder", Console(quiet=True))
    found = [str(warning.message) for warning in recwarn if "slices" in str(warning.message)]
    assert len(found) == (told is not None)
    assert told is None or re.search(told, found[0])
