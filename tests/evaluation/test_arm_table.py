import json

import numpy as np
import pytest

from medgraph.errors import DataError
from medgraph.evaluation.arm_table import arm_table, main
from medgraph.evaluation.scores import Scores


@pytest.fixture
def write(tmp_path):
    def write(name, seed, score, overrides=(), pipeline="toy", resampled=None):
        folder = tmp_path / name
        (folder / "pretrain").mkdir(parents=True)
        rows = [{"case": "digit", "label": "common", "score": score}, {"case": "delta", "label": "both", "score": 1.0}]
        drawn = [] if resampled is None else [{"case": "digit", "label": "common", "scores": resampled}]
        Scores(rows, resampled=drawn).to_json(folder / "pretrain" / "scores.json")
        asked = {"pipeline": pipeline, "seed": seed, "overrides": [*overrides, f"seed={seed}"]}
        (folder / "environment.json").write_text(json.dumps(asked))
        return folder

    return write


def test_differences_are_paired_by_seed_with_a_t_interval(write):
    folders = [write(f"full-s{seed}", seed, score) for seed, score in ((1, 0.1), (2, 0.2), (3, 0.3))]
    folders += [write(f"plain-s{seed}", seed, s, ["weight=0"]) for seed, s in ((3, 0.6), (1, 0.3), (2, 0.3), (9, 5.0))]
    first, _, digit, delta = arm_table(folders).splitlines()
    assert first == "| case | label | full (3) | plain (4) | minus full |"
    # differences 0.2, 0.1, 0.3: mean 0.2, sd 0.1, half width 4.3027 * 0.1 / sqrt 3 = 0.2484
    assert digit == "| digit | common | 0.200 ± 0.100 | 1.550 ± 2.304 | +0.200 [-0.048, +0.448] |"
    assert delta.endswith("| +0.000 [+0.000, +0.000] |")


def test_two_seeds_give_no_interval_and_one_no_spread(write):
    folders = [write("full-s1", 1, 0.5), write("full-s2", 2, 0.7), write("plain-s1", 1, 0.2, ["weight=0"])]
    assert arm_table(folders).splitlines()[2] == "| digit | common | 0.600 ± 0.141 | 0.200 | -0.300 |"


def test_stored_draws_give_an_interval_over_subjects(write):
    draws = np.linspace(0, 1, 101)
    folders = [write("full-s1", 1, 0.5, resampled=draws.tolist())]
    folders += [write("plain-s1", 1, 0.7, ["weight=0"], resampled=(2 * draws).tolist())]
    assert arm_table(folders).splitlines()[2].endswith("| +0.200 {+0.025, +0.975} |")


def test_folders_without_seed_in_their_name_are_told_apart_by_their_overrides(write):
    shared = "data.root=there"
    folders = [write("b", 1, 0.5, [shared]), write("a", 1, 0.5, [shared, "pretrain.method.weight=0", "epochs=9"])]
    folders += [write("c", 1, 0.5, [shared], pipeline="plain"), write("d", 2, 0.5, [shared])]
    header = arm_table(folders).splitlines()[0]
    assert header == "| case | label | toy (2) | plain (1) | minus toy | toy, epochs=9, weight=0 (1) | minus toy |"


def test_rows_are_chosen_by_pattern(write, capsys, tmp_path):
    folder = str(write("full-s1", 1, 0.5))
    main([folder, "--rows", "^digit", "--rows", "nothing"])
    assert len(capsys.readouterr().out.splitlines()) == 3
    with pytest.raises(SystemExit) as stopped:
        main([folder, "--rows", "nothing"])
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("rows nothing: found in none of 2 rows, e.g. 'digit, common'")
    with pytest.raises(DataError, match=r"rows z \(: is no regular expression: missing \), unterminated subpattern"):
        arm_table([tmp_path / "full-s1"], rows=("z (",))


def test_another_figure_of_the_rows_may_be_shown(write, capsys):
    folder = write("full-s1", 1, 0.5, resampled=[0.4, 0.6])
    path = folder / "pretrain" / "scores.json"
    stored = json.loads(path.read_text())
    stored["rows"][0]["mae"] = 3.25
    path.write_text(json.dumps(stored))
    main([str(folder), "--metric", "mae"])
    assert capsys.readouterr().out.splitlines()[2:] == ["| digit | common | 3.250 |"]
    with pytest.raises(DataError, match="metric rmse: no row of these runs has it, expected score, mae or another"):
        arm_table([folder], metric="rmse")


def test_unfinished_foreign_and_repeated_runs_are_named(write):
    folder = write("full-s1", 1, 0.5)
    with pytest.raises(DataError, match="seed 1 comes twice in this arm, expected each seed once"):
        arm_table([folder, write("full-s1-again", 1, 0.5)])
    (folder / "environment.json").write_text("{}")
    with pytest.raises(DataError, match=r"environment.json: expected what a run writes"):
        arm_table([folder])
    (folder / "pretrain" / "scores.json").unlink()
    with pytest.raises(DataError, match="holds 0 files scores"):
        arm_table([folder])
