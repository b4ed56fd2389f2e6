import json
from dataclasses import asdict

import pytest

from medgraph.data.spec import GraphSpec, ImageSpec, MetapathSpec, spec_from_dict

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
