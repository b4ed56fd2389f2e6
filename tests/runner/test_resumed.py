"""A run goes on in the folder that holds it; overrides that were forgotten throw nothing away."""

import json
import os
from pathlib import Path

import pytest

from medgraph import config
from medgraph.errors import ConfigError
from medgraph.runner import resumed, runner

LONG = ("pretrain.train.epochs=3", "finetune.train.epochs=2")


def pipeline(*overrides, of="smoke-meow"):
    return config.load(of, overrides)


@pytest.fixture
def begin(tmp_path, monkeypatch):
    """begin(number, overrides) -> a run folder as it is before its first stage; a higher number is newer."""
    monkeypatch.chdir(tmp_path)

    def begin(number: int, *overrides: str):
        folder = runner._open_folder(pipeline(*overrides), f"runs/smoke-meow-{number}", resume=False)
        os.utime(folder, (number, number))
        return folder

    return begin


def told(folder):
    return json.loads((folder / "environment.json").read_text())["overrides"]


def test_without_a_folder_the_run_with_these_overrides_goes_on(begin):
    plain, long, _ = begin(1), begin(2, *LONG), begin(3, "seed=9")
    assert resumed.find(pipeline(*LONG)) == long
    assert resumed.find(pipeline()) == plain
    assert resumed.find(pipeline("seed=8")) is None
    assert resumed.find(pipeline(of=str(long / "pipeline.yaml"))) == long  # not the newest, nor one without overrides
    assert resumed.find(pipeline("name=smoke")) is None


def test_a_config_that_was_edited_goes_on_where_the_overrides_are_the_same(begin):
    begin(2, "seed=9")
    folder = begin(1)
    text = (folder / "pipeline.yaml").read_text()
    (folder.parent / "edited.yaml").write_text(text.replace("seed: 0", "seed: 4"))
    edited = pipeline(of=str(folder.parent / "edited.yaml"))
    assert edited.stages["pretrain"].digest != pipeline().stages["pretrain"].digest
    assert resumed.find(edited) == folder
    assert resumed.overrides_in(folder, edited) == ()


def test_forgotten_overrides_are_refused_and_nothing_is_written(begin):
    folder = begin(1, *LONG)
    before = (folder / "pipeline.yaml").read_text()
    for given, out, missing in (
        ((), None, " ".join(LONG)),
        (LONG[:1], folder, LONG[1]),
        (("seed=9",), folder, LONG[0]),
    ):
        with pytest.raises(ConfigError) as caught:
            runner._open_folder(pipeline(*given), out, resume=True)
        (line,) = str(caught.value).splitlines()
        assert line.startswith(f"{folder}: holds a run with {missing}")
        assert f"`medgraph run {folder}/pipeline.yaml --resume --out {folder}`" in line
    assert (folder / "pipeline.yaml").read_text() == before
    assert told(folder) == list(LONG)


def test_what_is_asked_for_expressly_goes_on_and_is_told(begin):
    folder = begin(1, *LONG)
    stored = str(folder / "pipeline.yaml")
    runner._open_folder(pipeline(of=stored), folder, resume=True)
    assert told(folder) == list(LONG)
    changed = "pretrain.train.epochs=5"
    runner._open_folder(pipeline(changed, of=stored), folder, resume=True)
    assert told(folder) == [LONG[1], changed]
    assert f"# Override: {changed!r}\n" in (folder / "pipeline.yaml").read_text()
    runner._open_folder(pipeline(*LONG, "seed=9"), folder, resume=True)
    assert told(folder) == [*LONG, "seed=9"]
    above = "pretrain.train={epochs: 2, batch_size: 1, optimizer: {name: adam}, schedule: {name: constant}}"
    runner._open_folder(pipeline(above, LONG[1], "seed=8"), folder, resume=True)
    assert told(folder) == [above, LONG[1], "seed=8"]


def test_a_stored_pipeline_that_cannot_be_read_is_another_run(begin):
    folder = begin(1, *LONG)
    (folder / "pipeline.yaml").write_text("name: smoke-meow\n")
    with pytest.raises(ConfigError, match="holds a run with"):
        resumed.overrides_in(folder, pipeline())
    assert resumed.overrides_in(folder, pipeline(*LONG)) == LONG


def test_a_stored_pipeline_is_utf_8_in_every_locale(begin, monkeypatch):
    write = Path.write_text
    monkeypatch.setattr(Path, "write_text", lambda self, text, encoding="ascii": write(self, text, encoding=encoding))
    folder = begin(1, "pretrain.data.source={name: saved_graph, path: Öhrchen.pt}")
    assert pipeline(of=str(folder / "pipeline.yaml")).stages["pretrain"].data["source"]["path"] == "Öhrchen.pt"
