from types import SimpleNamespace

import pytest

from medgraph.evaluation.scores import Scores
from medgraph.runner.compare import arm_folder, table


def store(path, arm, seed, rows):
    folder = arm_folder(path, arm, 4, seed)
    folder.mkdir(parents=True)
    Scores(rows).to_json(folder / "scores.json")


def stage(seeds):
    return SimpleNamespace(compare=SimpleNamespace(num_labelled=(4,), seeds=seeds))


def test_cases_are_paired_after_averaging_over_seeds(tmp_path):
    for arm, offset in (("pretrained", 0.1), ("from scratch", 0.0)):
        for seed in (0, 1):
            rows = [
                {"case": case, "label": label, "dice": 0.5 + offset + seed / 10, "hd95": 2.0}
                for case in ("a", "b", "c")
                for label in ("front", "back")
            ]
            store(tmp_path, arm, seed, rows)
    found = table(stage((0, 1)), tmp_path, 0)
    assert [(row["label"], row["metric"], row["chief"]) for row in found] == [
        ("back", "dice", False),
        ("back", "hd95", False),
        ("front", "dice", False),
        ("front", "hd95", False),
        ("mean", "dice", True),
        ("mean", "hd95", False),
    ]
    assert found[4]["pretrained"] == pytest.approx(0.65)
    assert found[4]["difference"]["mean"] == pytest.approx(0.1)
    assert (found[4]["difference"]["n"], found[4]["over"]) == (3, "cases")


def test_one_figure_for_the_whole_set_is_paired_over_seeds(tmp_path):
    for arm, offset in (("pretrained", 0.2), ("from scratch", 0.0)):
        for seed in (0, 1, 2):
            store(tmp_path, arm, seed, [{"case": "test", "label": "paper", "macro_f1": 0.5 + offset + seed / 100}])
    (row,) = table(stage((0, 1, 2)), tmp_path, 0)
    assert (row["label"], row["chief"], row["over"]) == ("paper", True, "seeds")
    assert row["difference"]["n"] == 3
    assert row["difference"]["mean"] == pytest.approx(0.2)


def test_a_metric_that_a_label_lacks_has_no_row(tmp_path):
    rows = [{"case": "a", "label": "front", "dice": 1.0, "hd95": 0.0}, {"case": "b", "label": "back", "dice": 0.5}]
    for arm in ("pretrained", "from scratch"):
        store(tmp_path, arm, 0, rows)
    assert ("back", "hd95") not in [(row["label"], row["metric"]) for row in table(stage((0,)), tmp_path, 0)]
