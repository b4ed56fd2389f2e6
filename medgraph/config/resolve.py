"""A checked pipeline as text, with every default written out; loads again and repeats the run."""

import io
from dataclasses import asdict
from typing import Any

from ruamel.yaml import YAML

from medgraph.config.schema import STAGE_KEYS, Pipeline, Stage


def resolved(pipeline: Pipeline) -> str:
    """One self-contained pipeline file in YAML: configs inlined, overrides applied and named in the first lines."""
    tree = {
        "name": pipeline.name,
        "seed": pipeline.seed,
        "stages": {name: _stage(stage) for name, stage in pipeline.stages.items()},
    }
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.width = 120
    text = io.StringIO()
    yaml.dump(tree, text)
    overrides = "".join(f"# Override: {override!r}\n" for override in pipeline.overrides)
    return f"# Every value of the run, defaults included. Run this file to repeat it.\n{overrides}{text.getvalue()}"


def _stage(stage: Stage) -> dict[str, Any]:
    values = asdict(stage)
    needed, optional = STAGE_KEYS[stage.kind]
    config = {key: values[key] for key in (*needed, *optional) if values[key] is not None}
    start = {"start_from": stage.start_from} if stage.start_from else {}
    return {**start, "config": {"kind": stage.kind, **config}}
