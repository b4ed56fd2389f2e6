import pytest

from medgraph.evaluation.bootstrap import paired_difference
from medgraph.evaluation.paired import paired_rows, resampled_rows, told
from medgraph.evaluation.scores import Scores


def test_each_case_is_averaged_over_seeds_before_it_is_paired():
    first = [
        Scores([{"case": c, "label": "front", "dice": v} for c, v in zip("abc", values, strict=True)])
        for values in ((0.2, 0.6, 0.5), (0.4, 0.8, 0.5))
    ]
    second = [Scores([{"case": c, "label": "front", "dice": 0.1} for c in "bca"])] * 2
    (row,) = paired_rows(first, second)
    assert (row["first"], row["second"]) == (pytest.approx(0.5), pytest.approx(0.1))
    expected = paired_difference([0.3, 0.7, 0.5], [0.1, 0.1, 0.1])
    assert row["difference"] == pytest.approx(vars(expected))
    assert row["chief"]


def test_a_single_case_is_paired_over_seeds():
    first, second = (
        [Scores([{"case": "test", "label": "all", "ari": v}]) for v in values] for values in ((1, 2), (0, 0))
    )
    (row,) = paired_rows(first, second)
    assert (row["over"], row["difference"]["n"], row["difference"]["mean"]) == ("seeds", 2, 1.5)
    assert (row["difference"]["low"], row["difference"]["high"]) == (None, None)


def test_what_no_arm_learned_and_spreads_over_draws_are_not_compared():
    rows = {"case": "test", "label": "20", "auc": 1.0, "auc_std": 0.1, "floor_averaged_auc": 0.9}
    assert [row["metric"] for row in paired_rows([Scores([rows])], [Scores([rows])])] == ["auc"]


def test_times_of_the_clock_are_not_compared():
    speed = {"case": "90 targets", "label": "embedding", "nodes_per_second": 9.0, "seconds": 10.0}
    row = {"case": "1 probe", "label": "20", "macro_f1": 90.0}
    (found,) = paired_rows([Scores([speed, row])], [Scores([speed, {**row, "macro_f1": 80.0}])])
    assert (found["metric"], found["label"], found["chief"], found["over"]) == ("macro_f1", "20", True, "seeds")
    assert paired_rows([Scores([speed])], [Scores([speed])]) == []


def test_twelve_seeds_have_a_t_interval():
    values = [0.1 * number for number in range(12)]
    first, second = ([Scores([{"case": "test", "label": "all", "ari": v}]) for v in vs] for vs in (values, [0.0] * 12))
    (row,) = paired_rows(first, second)
    expected = paired_difference(values, [0.0] * 12, of_seeds=True)
    assert row["difference"] == pytest.approx(vars(expected))


def test_a_difference_is_told_with_its_interval_or_that_there_is_none():
    assert told({"mean": 0.1, "low": 0.05, "high": 0.15, "n": 16}, 3) == "+0.100 [+0.050, +0.150]"
    assert told({"mean": 0.1, "low": None, "high": None, "n": 1}, 2) == "+0.10, 1 pair: no interval"
    assert told({"mean": 0.1, "low": None, "high": None, "n": 2}, 2) == "+0.10, 2 pairs: no interval"


def drawn(age, radius, peer=0.3):
    rows, resampled = [], []
    for case, scores in (("age", age), ("radius", radius), ("peer", [peer] * 5)):
        rows.append({"case": case, "label": "common", "score": scores[0], "chance": 0.5})
        resampled.append({"case": case, "label": "common", "scores": scores[1:]})
    return Scores([*rows, {"case": "norm", "label": "salient", "score": scores[0]}], resampled=resampled)


def test_scores_of_drawn_again_subjects_are_compared_row_by_row_and_draw_by_draw():
    first = drawn([0.9, 0.8, 0.9, 1.0, 0.7], [0.5, 0.5, 0.5, 0.5, 0.5])
    second = drawn([0.7, 0.6, 0.7, 0.8, 0.5], [0.1, 0.3, 0.2, 0.1, 0.0])
    age, radius = resampled_rows(first, second)  # no row of what is alike, or not drawn again
    assert (age["case"], age["label"], age["first"], age["second"]) == ("age", "common", 0.9, 0.7)
    assert age["difference"] == pytest.approx({"mean": 0.2, "low": 0.2, "high": 0.2})
    assert radius["difference"] == pytest.approx({"mean": 0.4, "low": 0.2075, "high": 0.4925})
