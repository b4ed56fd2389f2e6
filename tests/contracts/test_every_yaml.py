"""Every shipped pipeline passes the check; every catalogue class has the signature that the checker reads."""

import inspect

import pytest

from medgraph import catalogue, config, shipped
from medgraph.config import signature

PARTS = [(kind, name) for kind in catalogue.TABLES for name in catalogue.table(kind)]


@pytest.mark.parametrize("name", list(shipped.pipelines()))
def test_shipped_pipeline_passes_and_repeats_itself(name, tmp_path):
    pipeline = config.load(name)
    assert pipeline.name == name
    (tmp_path / "again.yaml").write_text(config.resolved(pipeline))
    again = config.load(tmp_path / "again.yaml")
    assert [stage.digest for stage in again.stages.values()] == [stage.digest for stage in pipeline.stages.values()]


def test_every_config_belongs_to_a_pipeline():
    used = {file.resolve() for path in shipped.pipelines().values() for file in config.config_files(path).values()}
    assert {path.resolve() for path in shipped.folder("configs").rglob("*.yaml")} == used


@pytest.mark.parametrize("name", list(shipped.pipelines()))
def test_shipped_file_opens_with_what_how_and_needs(name):
    path = shipped.pipelines()[name]
    for file in (path, *config.config_files(path).values()):
        lines = file.read_text(encoding="utf-8").splitlines()
        assert [line[:8] for line in lines[1:3]] == ["# Run:  ", "# Needs:"], file
        assert lines[0].startswith("# "), file


@pytest.mark.parametrize(("kind", "name"), PARTS)
def test_signature_in_source_is_the_real_one(kind, name):
    ours = signature.read(catalogue.path(kind, name))
    made = catalogue.find(kind, name)
    open_ended = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)  # of torch, where we define none
    real = {key: p for key, p in inspect.signature(made).parameters.items() if p.kind not in open_ended}
    assert ours.class_name == made.__name__
    assert list(ours.parameters) == list(real)
    for key, parameter in real.items():
        assert ours.parameters[key].required == (parameter.default is parameter.empty), key
        if parameter.default is not parameter.empty:
            assert ours.parameters[key].default == parameter.default, key
        if ours.parameters[key].annotation is None and key != "spec":
            assert catalogue.kind_of_key(key), f"{key}: {parameter.annotation} is neither a value nor a part"
