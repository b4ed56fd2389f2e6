"""An encoder is shown what it was built for, or a line says what differs."""

from dataclasses import replace

import pytest

from medgraph.data.spec import ImageSpec, MetapathSpec
from medgraph.runner import sees

GRAY = ImageSpec(spatial_dims=2, channels=1, size=(16, 16), num_examples=9)
COLOR = replace(GRAY, channels=3)
PAPERS = MetapathSpec("paper", {"paper": 9, "author": 5}, {"paper": 7, "author": 0}, 3, (), {"pap": ("author",)})


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
        ({"target_type": "author"}, "takes targets of type 'paper', but the data of this stage have 'author'."),
        ({"feature_dims": {"paper": 8, "author": 0}}, "takes 7 columns of 'paper', but the data of this stage have 8."),
        ({"node_counts": {"paper": 9, "author": 6}}, "takes 5 columns of 'author', but the data of this stage have 6."),
        ({"context_types": {"pap": ()}}, "takes the meta-paths pap (author), but the data of this stage have pap."),
    ],
)
def test_graphs_that_differ_are_told_with_what_differs(changes, told):
    (line,) = sees.unlike("a", PAPERS, replace(PAPERS, **changes))
    assert told in line
    assert sees.unlike("a", PAPERS, replace(PAPERS, node_counts={"paper": 2, "author": 5})) == []
