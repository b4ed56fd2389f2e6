"""The table of several runs: means over seeds and volumes, differences paired over volumes."""

import pytest

from medgraph.errors import DataError
from medgraph.evaluation.bootstrap import paired_difference
from medgraph.evaluation.compare_table import compare_table, main
from medgraph.evaluation.scores import Scores

CASES = ("a", "b", "c")


def write(stage, arm, count, seed, front, back):
    """Dice of three volumes on two labels."""
    folder = stage / f"{arm}-{count}-seed{seed}"
    folder.mkdir(parents=True)
    rows = [
        {"case": case, "label": label, "dice": value, "hd95": 1.0}
        for label, values in (("front", front), ("back", back))
        for case, value in zip(CASES, values, strict=True)
    ]
    Scores(rows).to_json(folder / "scores.json")


@pytest.fixture
def runs(tmp_path):
    """Two runs of one compare stage with the same twin, and a third number of labels in the first."""
    for run, gain in (("swav", 0.1), ("joint", 0.2)):
        stage = tmp_path / run / "segment"
        for seed in (0, 1):
            write(stage, "from-scratch", 2, seed, (0.5, 0.6, 0.7), (0.4, 0.4, 0.4))
            write(stage, "pretrained", 2, seed, (0.5 + gain, 0.6 + gain, 0.7), (0.4 + gain,) * 3)
    write(tmp_path / "swav" / "segment", "pretrained", 16, 0, (0.9, 0.9, 0.9), (0.8, 0.8, 0.8))
    (tmp_path / "swav" / "intra").mkdir()
    return tmp_path


def interval(values):
    found = paired_difference(values, [0.0] * len(values), seed=0)
    return f"{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"


def test_each_arm_has_its_figures_and_what_it_gained(runs):
    lines = compare_table([runs / "swav", runs / "joint" / "segment"]).splitlines()
    assert lines[0] == "| labelled | arm | seeds | mean Dice | back | front | minus from scratch |"
    assert lines[2] == "| 2 | from scratch | 2 | 0.500 | 0.400 | 0.600 | |"  # once, though both runs have it
    assert lines[3] == f"| 2 | swav/segment | 2 | 0.583 | 0.500 | 0.667 | {interval([0.1, 0.1, 0.05])} |"
    assert lines[4] == f"| 2 | joint/segment | 2 | 0.667 | 0.600 | 0.733 | {interval([0.2, 0.2, 0.1])} |"
    assert lines[5:] == ["| 16 | swav/segment | 1 | 0.850 | 0.800 | 0.900 |  |"]  # no twin yet


def test_arms_are_set_against_one_of_them(runs):
    lines = compare_table([runs / "swav", runs / "joint"], against="swav/segment").splitlines()
    assert lines[0].endswith("| minus from scratch | minus swav/segment |")
    assert lines[2].endswith("| 0.600 | | |")
    assert lines[3].endswith("] |  |")
    assert lines[4].endswith(f"| {interval([0.1, 0.1, 0.05])} |")


@pytest.mark.parametrize("merge", [False, True])
def test_a_stage_that_has_trained_from_scratch_alone_so_far_has_that_row(tmp_path, merge):
    write(tmp_path / "swav" / "segment", "from-scratch", 2, 0, (0.5, 0.6, 0.7), (0.4, 0.4, 0.4))
    lines = compare_table([tmp_path / "swav"], merge=merge).splitlines()
    assert lines[0] == "| labelled | arm | seeds | mean Dice | back | front | minus from scratch |"
    assert lines[2:] == ["| 2 | from scratch | 1 | 0.500 | 0.400 | 0.600 | |"]


def test_a_folder_without_runs_and_no_folder_are_told(tmp_path, capsys):
    (tmp_path / "swav" / "segment").mkdir(parents=True)
    with pytest.raises(SystemExit) as stop:
        main(["--merge", str(tmp_path / "swav")])
    assert stop.value.code == 2
    assert "swav: holds no fine-tuned model with 'dice' among its scores" in capsys.readouterr().err
    with pytest.raises(DataError, match="folders: got none, expected the folder of a run"):
        compare_table([], merge=True)


def test_runs_of_one_pipeline_are_merged_over_their_seeds(tmp_path):
    for seed, gain in ((0, 0.1), (1, 0.3)):
        stage = tmp_path / f"run{seed}" / "segment"
        write(stage, "from-scratch", 2, seed, (0.5, 0.5, 0.5), (0.4, 0.4, 0.4))
        write(stage, "pretrained", 2, seed, (0.5 + gain,) * 3, (0.4 + gain,) * 3)
    lines = compare_table([tmp_path / "run0", tmp_path / "run1"], merge=True).splitlines()
    assert lines[2] == "| 2 | from scratch | 2 | 0.450 | 0.400 | 0.500 | |"
    assert lines[3] == "| 2 | segment | 2 | 0.650 | 0.600 | 0.700 | +0.200 [+0.200, +0.200] |"
    with pytest.raises(DataError, match="seed 0 with 2 labelled was read before, expected runs of different seeds"):
        compare_table([tmp_path / "run0"] * 2, merge=True)


def test_all_labels_come_last_and_a_foreign_encoder_has_rows_of_its_own(runs):
    stage = runs / "swav" / "segment"
    write(stage, "pretrained", "all", 0, (0.9, 0.9, 0.9), (0.9, 0.9, 0.9))
    write(stage, "from-scratch", "all", 0, (0.8, 0.8, 0.8), (0.8, 0.8, 0.8))
    write(stage, "foreign", 2, 0, (0.6, 0.7, 0.8), (0.5, 0.5, 0.5))
    lines = compare_table([runs / "swav"]).splitlines()
    assert lines[4] == f"| 2 | swav/segment, foreign | 1 | 0.600 | 0.500 | 0.700 | {interval([0.1, 0.1, 0.1])} |"
    assert lines[6] == "| all | from scratch | 1 | 0.800 | 0.800 | 0.800 | |"
    assert lines[7] == f"| all | swav/segment | 1 | 0.900 | 0.900 | 0.900 | {interval([0.1, 0.1, 0.1])} |"


def test_a_share_of_the_labels_has_its_rows_before_the_numbers(runs):
    stage = runs / "swav" / "segment"
    for arm in ("pretrained", "from-scratch"):
        write(stage, arm, 0.1, 0, (0.3, 0.3, 0.3), (0.3, 0.3, 0.3))
        write(stage, arm, 1e-05, 0, (0.2, 0.2, 0.2), (0.2, 0.2, 0.2))
    heads = [line.split("|")[1:3] for line in compare_table([runs / "swav"]).splitlines()[2:]]
    assert [head[0].strip() for head in heads] == ["0.001 %"] * 2 + ["10 %"] * 2 + ["2"] * 2 + ["16"]


def test_twins_that_differ_have_a_row_each(runs):
    write(runs / "other" / "segment", "from-scratch", 2, 0, (0.1, 0.1, 0.1), (0.1, 0.1, 0.1))
    table = compare_table([runs / "swav", runs / "other"])
    assert table.count("| from scratch |") == 2


def test_only_seeds_that_both_have_are_paired(runs):
    write(runs / "joint" / "segment", "pretrained", 2, 7, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    line = compare_table([runs / "joint"]).splitlines()[3]
    assert line.startswith("| 2 | joint/segment | 3 |")
    assert line.endswith(f"| {interval([0.2, 0.2, 0.1])} |")


def test_runs_on_other_volumes_and_labels_stand_side_by_side_and_are_not_set_against_each_other(runs):
    folder = runs / "liver" / "segment" / "pretrained-2-seed0"
    folder.mkdir(parents=True)
    Scores([{"case": case, "label": "lesion", "dice": 0.3} for case in "xyz"]).to_json(folder / "scores.json")
    lines = compare_table([runs / "swav", runs / "liver"], against="swav/segment").splitlines()
    assert lines[0].startswith("| labelled | arm | seeds | mean Dice | back | front | lesion | minus from scratch |")
    assert lines[3].startswith("| 2 | swav/segment | 2 | 0.583 | 0.500 | 0.667 |  |")
    assert lines[4] == "| 2 | liver/segment | 1 | 0.300 |  |  | 0.300 |  |  |"


def test_another_figure_is_shown_where_it_is_asked_for(tmp_path, capsys):
    right = {"pretrained": (1.0, 1.0, 0.0), "from-scratch": (0.0, 1.0, 0.0)}
    for arm, values in right.items():
        folder = tmp_path / "finetune" / f"{arm}-200-seed3"
        folder.mkdir(parents=True)
        rows = [{"case": c, "label": "all", "auc": 0.5, "accuracy": v} for c, v in zip(CASES, values, strict=True)]
        Scores(rows).to_json(folder / "scores.json")
    main([str(tmp_path), "--merge", "--metric", "accuracy"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| labelled | arm | seeds | mean accuracy | all | minus from scratch |"
    assert lines[2:] == [
        "| 200 | from scratch | 1 | 0.333 | 0.333 | |",
        f"| 200 | finetune | 1 | 0.667 | 0.667 | {interval([1.0, 0.0, 0.0])} |",
    ]
    assert "| mean AUC | all |" in compare_table([tmp_path], metric="auc")
    with pytest.raises(DataError, match="'dice' among its scores"):
        compare_table([tmp_path])


def test_it_is_a_command(runs, capsys):
    main([str(runs / "swav"), "--against", "swav/segment"])
    assert "swav/segment" in capsys.readouterr().out


def test_what_is_not_there_is_named(runs):
    with pytest.raises(DataError, match="intra: holds no fine-tuned model with 'dice' among its scores"):
        compare_table([runs / "swav" / "intra"])
    with pytest.raises(DataError, match=r"--against x: no such arm. There are: swav/segment"):
        compare_table([runs / "swav"], against="x")


def test_a_folder_without_scores_is_told_without_a_traceback(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([str(tmp_path)])
    assert stopped.value.code == 2
    assert "holds no fine-tuned model" in capsys.readouterr().err
