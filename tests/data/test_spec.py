import json
from dataclasses import asdict

import pytest

from medgraph.data.spec import GraphSpec, ImageSpec, MetapathSpec, as_stored, spec_from_dict
from medgraph.errors import DataError

EDGES = (("paper", "to", "author"), ("author", "rev_to", "paper"))
COUNTS = {"paper": 3, "author": 2}


@pytest.mark.parametrize(
    "spec",
    [
        ImageSpec(spatial_dims=2, channels=1, size=(8, 8), num_examples=4, classes=("back", "front")),
        GraphSpec("paper", COUNTS, {"paper": 5, "author": 0}, 2, EDGES),
        MetapathSpec("paper", COUNTS, {"paper": 5, "author": 0}, None, EDGES, {"pap": ("author",), "other": ()}),
        GraphSpec("paper", COUNTS, {"paper": 5, "author": 0}, 2, EDGES, path_feature_dims={"pap": 2, "other": 3}),
    ],
    ids=["image", "graph", "metapath", "blocks"],
)
def test_a_spec_survives_json(spec):
    assert spec_from_dict(json.loads(json.dumps(asdict(spec)))) == spec


def test_slices_of_data_stored_before_they_were_laid_upright_are_not():
    slices = {"name": "slices", "axis": 1, "size": [48, 48]}
    mixed = as_stored({"name": "mixed", "data": [slices, {"name": "images", "size": [48, 48]}], "max_share": 0.5})
    assert mixed["data"] == [{"upright": False, **slices}, {"name": "images", "size": [48, 48]}]
    assert as_stored({**slices, "upright": True})["upright"] is True
    assert as_stored({"name": "array_stacks", "axis": 0, "pool": 2}) == {"name": "array_stacks", "axis": 0, "pool": 2}


def test_two_classes_of_one_name_are_refused():
    with pytest.raises(DataError, match="the classes background, lesion, lesion: 'lesion' comes twice"):
        ImageSpec(2, 1, (4, 4), 3, ("background", "lesion", "lesion"))
