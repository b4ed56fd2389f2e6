"""Names and paths are printed as they are, with brackets, colons and all."""

import pytest

from medgraph import config
from medgraph.evaluation.scores import Scores
from medgraph.runner import runner, terminal
from medgraph.runner.log import Progress
from medgraph.runner.predict import predict
from medgraph.runner.report import print_scores

NAMES = ["a[/b]", "runs[v2]", "[bold]", "[red]x[/red]", ":smile:"]


@pytest.mark.parametrize("name", NAMES)
def test_a_line_is_printed_as_it_is(name, capsys):
    terminal.console().print(f"{name} -> runs/{name}")
    with Progress(num_steps=1, title=name) as progress:
        progress.say(name)
    said = capsys.readouterr().out
    assert f"{name} -> runs/{name}\n" in said
    assert f"  {name}\n" in said
    assert f"  {name}: 0 of 1 steps" in said


@pytest.mark.parametrize("name", NAMES)
def test_names_of_classes_stand_in_a_table_as_they_are(name, capsys):
    scores = Scores([{"case": "a", "label": name, "dice": 0.5}])
    print_scores(name, scores, terminal.console())
    assert capsys.readouterr().out.count(name) == 2


def test_nothing_is_printed_where_it_shall_be_quiet(capsys):
    terminal.console(quiet=True).print("x")
    assert capsys.readouterr().out == ""


def test_a_case_with_brackets_is_told_by_its_name(run_folder, cases, tmp_path, capsys):
    (cases / "case0.nii.gz").rename(cases / "case[bold].nii.gz")
    predict(run_folder, cases, tmp_path / "out", device="cpu")
    assert "case[bold]: bright 72 voxels\n" in capsys.readouterr().out


def test_a_run_goes_to_a_folder_with_brackets(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(runner, "KINDS", dict.fromkeys(runner.KINDS, lambda *a: None))
    monkeypatch.setattr(runner, "finish", lambda *a, **k: None)
    monkeypatch.setattr(runner, "write_cards", lambda *a: None)
    folder = runner.run(config.load("smoke-meow"), out=tmp_path / "a[/b]", device="cpu")
    assert capsys.readouterr().out.startswith(f"smoke-meow -> {folder}\npretrain (train)\n")
