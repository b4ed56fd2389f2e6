"""The JSON Schema offers every name and parameter, and nothing else."""

from medgraph import config


def test_parts_and_parameters_are_offered(fake_parts):
    schema = config.json_schema()["$defs"]
    assert schema["losses"]["properties"]["name"]["enum"] == ["fake"]
    loss = schema["losses"]["oneOf"][0]
    assert list(loss["properties"]) == ["name", "temperature", "mode"]
    assert loss["properties"]["temperature"] == {"type": "number", "default": 0.1}
    assert loss["properties"]["mode"]["enum"] == ["hard", "soft"]
    assert loss["additionalProperties"] is False
    data = schema["data"]["oneOf"][0]
    assert data["required"] == ["name", "root"]
    assert "seed" not in data["properties"]
    assert data["properties"]["size"]["default"] == [4, 8]


def test_parts_of_parts_point_at_their_table(fake_parts):
    method = config.json_schema()["$defs"]["methods"]["oneOf"][0]["properties"]
    assert method["loss"] == {"$ref": "#/$defs/losses"}
    assert method["transforms"] == {"type": "array", "items": {"$ref": "#/$defs/transforms"}, "default": []}


def test_stage_kinds_need_their_keys(fake_parts):
    stages = {s["properties"]["kind"]["const"]: s for s in config.json_schema()["$defs"]["stage"]["oneOf"]}
    assert stages["train"]["required"] == ["kind", "data", "method", "train"]
    assert "compare" not in stages["train"]["properties"]
    assert stages["compare"]["properties"]["compare"]["required"] == ["num_labelled", "seeds"]
    assert stages["train"]["properties"]["train"]["properties"]["optimizer"] == {"$ref": "#/$defs/optimizers"}
    smooth = stages["train"]["properties"]["choose"]["properties"]["smooth"]
    (way,) = (each["additionalProperties"] for each in smooth["anyOf"] if each["type"] == "object")
    assert way["required"] == ["num_neighbors"]
    assert way["properties"]["rounds"] == {"type": "integer", "default": 1}
    assert smooth["default"] is None
