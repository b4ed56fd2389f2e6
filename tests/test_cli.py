"""The command line: quick without torch, clear errors with exit code 2, nothing written before the check."""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML
from typer.testing import CliRunner

import medgraph
from medgraph import cli, config, doctor
from medgraph.errors import ConfigError, DataError, MedgraphError

LIGHT = "import sys, resource; sys.argv = ['medgraph', *{!r}]\nfrom medgraph import cli\ncode = 0\n"
LIGHT += "try:\n    cli.main()\nexcept SystemExit as stop:\n    code = stop.code\n"
LIGHT += "use = resource.getrusage(resource.RUSAGE_SELF)\n"
LIGHT += "print(code, 'torch' in sys.modules, use.ru_utime + use.ru_stime, file=sys.stderr)\n"

WRONG = "name: t\nseed: x\nsedd: 1\nstages: {a: {config: no.yaml}}\n"


@pytest.fixture
def wrong(tmp_path):
    """The path of a pipeline with three mistakes."""
    path = tmp_path / "wrong.yaml"
    path.write_text(WRONG)
    return str(path)


@pytest.mark.parametrize(
    ("arguments", "code"), [(["--help"], 0), (["list"], 0), (["run", "--help"], 0), (["check", "quikstart"], 2)]
)
def test_quick_answers_do_not_import_torch(arguments, code):
    done = subprocess.run(
        [sys.executable, "-c", LIGHT.format(arguments)], capture_output=True, encoding="utf-8", check=True
    )
    got, torch_imported, seconds = done.stderr.splitlines()[-1].split()
    assert (got, torch_imported) == (str(code), "False")
    assert float(seconds) < 1.0  # half of that on an idle machine


def test_failing_check_prints_a_line_for_each_mistake_and_no_traceback(wrong):
    command = [sys.executable, "-m", "medgraph", "check", wrong]
    done = subprocess.run(command, capture_output=True, encoding="utf-8")
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 3
    assert "sedd: a pipeline has no such key; did you mean 'seed'?" in done.stderr


def test_debug_shows_the_traceback(wrong, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["medgraph", "check", wrong, "--debug"])
    with pytest.raises(ConfigError):
        cli.main()


def test_exit_code_is_that_of_the_error(monkeypatch, capsys):
    class OddError(MedgraphError):
        exit_code = 77

    def fail(*arguments, **keywords):
        raise OddError("odd thing")

    monkeypatch.setattr(medgraph, "check", fail)
    monkeypatch.setattr(sys, "argv", ["medgraph", "check", "x"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 77
    assert capsys.readouterr().err == "odd thing\n"


def test_what_the_system_refuses_is_told_in_a_line(monkeypatch, capsys, tmp_path):
    def fail(*arguments, **keywords):
        (tmp_path / "absent" / "x").write_text("")

    monkeypatch.setattr(medgraph, "check", fail)
    monkeypatch.setattr(sys, "argv", ["medgraph", "check", "x"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith(f"{tmp_path / 'absent' / 'x'}: No such file or directory. ")


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="needs a device that is always full")
def test_a_full_disk_is_told_in_a_line_whoever_wrote(monkeypatch, capsys):
    monkeypatch.setattr(medgraph, "check", lambda *a: Path("/dev/full").write_text("x"))
    monkeypatch.setattr(sys, "argv", ["medgraph", "check", "x"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("disk: No space left on device. Check the path")


def test_of_a_copy_that_failed_the_place_it_should_have_gone_to_is_named(tmp_path, monkeypatch, capsys):
    (tmp_path / "here").write_text("x")
    monkeypatch.setattr(medgraph, "check", lambda *a: os.replace(tmp_path / "here", tmp_path / "absent" / "there"))
    monkeypatch.setattr(sys, "argv", ["medgraph", "check", "x"])
    with pytest.raises(SystemExit):
        cli.main()
    assert capsys.readouterr().err.startswith(f"{tmp_path / 'absent' / 'there'}: No such file or directory. ")


@pytest.mark.parametrize("ask", [lambda *a: np.empty(2**50), lambda *a: torch.empty(2**60)], ids=["numpy", "torch"])
def test_memory_that_is_not_there_is_told_in_a_line(ask, monkeypatch, capsys):
    monkeypatch.setattr(medgraph, "check", ask)
    monkeypatch.setattr(sys, "argv", ["medgraph", "check", "x"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("out of memory: ")
    assert "Take smaller batches" in line


def test_a_defect_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr(medgraph, "check", lambda *a: torch.ones(2) @ torch.ones(3))
    monkeypatch.setattr(sys, "argv", ["medgraph", "check", "x"])
    with pytest.raises(RuntimeError, match="inconsistent tensor size"):
        cli.main()


def test_a_warning_is_told_once_and_where_it_comes_from_if_not_from_us(monkeypatch, capsys):
    def warn(*arguments, **keywords):
        for _ in range(2):
            with warnings.catch_warnings():  # forgets what was shown before
                warnings.simplefilter("default")
                warnings.warn_explicit("labels start at 1", UserWarning, str(Path(cli.__file__)), 7)
                warnings.warn_explicit("old name", UserWarning, "/lib/elsewhere.py", 8)
        return config.Pipeline("tiny", 1, {}), []

    monkeypatch.setattr(medgraph, "check", warn)
    monkeypatch.setattr(sys, "argv", ["medgraph", "check", "x"])
    before = warnings.showwarning
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 0
    assert warnings.showwarning is before
    assert capsys.readouterr().err == "Warning: labels start at 1\n/lib/elsewhere.py:8: UserWarning: old name\n"


def test_run_hands_everything_on(monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(medgraph, "run", lambda *a, **k: calls.append((a, k)))
    line = ["run", "quickstart", "seed=3", "--out", str(tmp_path), "--device", "cpu", "--resume"]
    assert CliRunner().invoke(cli.app, line).exit_code == 0
    assert calls == [(("quickstart", ["seed=3"]), {"out": tmp_path, "device": "cpu", "resume": True})]


def test_interrupted_run_says_how_to_go_on(monkeypatch):
    def interrupt(*arguments, **keywords):
        raise KeyboardInterrupt

    monkeypatch.setattr(medgraph, "run", interrupt)
    done = CliRunner().invoke(cli.app, ["run", "quickstart"])
    assert done.exit_code == 130
    assert "--resume" in done.stderr


def test_check_tells_of_data_that_are_not_there_and_a_dry_run_refuses_them(monkeypatch):
    pipeline = config.Pipeline("tiny", 1, {})
    monkeypatch.setattr(medgraph, "check", lambda *a: (pipeline, ["a.yaml:2:3: a.data.root: data not found: x"]))
    done = CliRunner().invoke(cli.app, ["check", "x"])
    rest = "in the config; the data of 1 of them were not found, see above"
    assert done.exit_code == 0
    assert done.stdout == f"tiny: 0 stages, no mistakes found {rest}.\n"
    assert done.stderr == "Note: a.yaml:2:3: a.data.root: data not found: x\n"
    done = CliRunner().invoke(cli.app, ["run", "x", "--dry"])
    assert isinstance(done.exception, DataError)
    assert str(done.exception) == "a.yaml:2:3: a.data.root: data not found: x"
    assert done.stdout == ""


def test_check_says_so_where_all_is_well(monkeypatch):
    monkeypatch.setattr(medgraph, "check", lambda *a: (config.Pipeline("tiny", 1, {}), []))
    for line in (["run", "x", "--dry"], ["check", "x"]):
        assert CliRunner().invoke(cli.app, line).stdout == "tiny: 0 stages, no mistakes found.\n"


def test_run_refuses_data_that_cannot_be_read(monkeypatch):
    monkeypatch.setattr(medgraph, "check", lambda *a: (None, ["a: no such folder"]))
    with pytest.raises(DataError, match="no such folder"):
        medgraph.run("x")


def test_python_callers_reach_the_runner_with_the_checked_pipeline(monkeypatch):
    runner, export = ModuleType("runner"), ModuleType("export")
    runner.run = lambda pipeline, **keywords: (pipeline, keywords)
    export.load_encoder = lambda path: path
    monkeypatch.setitem(sys.modules, "medgraph.runner.runner", runner)
    monkeypatch.setitem(sys.modules, "medgraph.runner.export", export)
    monkeypatch.setattr(medgraph, "check", lambda name, overrides: ((name, overrides), []))
    called = medgraph.run("x", ["seed=3"], out="there", device="cpu", resume=True)
    assert called == (("x", ["seed=3"]), {"out": Path("there"), "device": "cpu", "resume": True})
    assert medgraph.load_encoder("folder") == Path("folder")


def test_show_without_a_name_says_what_to_give():
    done = CliRunner().invoke(cli.app, ["show"])
    assert done.exit_code == 2
    assert "--schema" in done.stderr


def test_schema_is_json():
    done = CliRunner().invoke(cli.app, ["show", "--schema"])
    assert json.loads(done.stdout)["title"] == "medgraph"


def test_list_names_pipelines_and_parts():
    done = CliRunner().invoke(cli.app, ["list"])
    assert "quickstart" in done.stdout
    assert "adamw" in done.stdout


def test_copy_hands_over_files_that_are_used_and_never_overwrites(tmp_path):
    done = CliRunner().invoke(cli.app, ["copy", "quickstart", str(tmp_path)])
    copies = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.yaml"))
    assert done.exit_code == 0
    assert copies == [
        "configs/quickstart/content.yaml",
        "configs/quickstart/pretrain.yaml",
        "configs/quickstart/verdict.yaml",
        "pipelines/quickstart.yaml",
    ]
    files = config.config_files(tmp_path / "pipelines" / "quickstart.yaml")
    assert all(path.is_relative_to(tmp_path.resolve()) for path in files.values())
    again = CliRunner().invoke(cli.app, ["copy", "quickstart", str(tmp_path)])
    assert isinstance(again.exception, MedgraphError)
    assert "exists already" in str(again.exception)


def test_copy_of_a_pipeline_without_its_config_says_so(wrong, tmp_path):
    done = CliRunner().invoke(cli.app, ["copy", wrong, str(tmp_path / "new")])
    assert "no such file: 'no.yaml'" in str(done.exception)
    assert not (tmp_path / "new").exists()


def test_doctor_names_versions_devices_and_disk():
    text = "\n".join(doctor.lines())
    for word in ("torch 2", "GPU", "optional onnx", "GiB free", medgraph.__version__):
        assert word in text


def test_doctor_tells_a_missing_package(monkeypatch):
    monkeypatch.setattr(doctor, "_NEEDED", ("no-such-package",))
    assert "no-such-package is missing: pip install no-such-package" in doctor.lines()


def test_show_is_a_pipeline_file():
    done = CliRunner().invoke(cli.app, ["show", "quickstart", "pretrain.train.epochs=2"])
    assert done.exit_code == 0, done.exception
    assert YAML(typ="safe").load(done.stdout)["stages"]["pretrain"]["config"]["train"]["epochs"] == 2
