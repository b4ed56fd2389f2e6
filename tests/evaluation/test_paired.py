import pytest

from medgraph.evaluation.paired import paired_rows
from medgraph.evaluation.scores import Scores


def test_each_case_is_averaged_over_seeds_before_it_is_paired():
    first = [
        Scores([{"case": c, "label": "front", "dice": v} for c, v in zip("ab", values, strict=True)])
        for values in ((0.2, 0.6), (0.4, 0.8))
    ]
    second = [Scores([{"case": c, "label": "front", "dice": 0.1} for c in "ba"])] * 2
    (row,) = paired_rows(first, second)
    assert (row["first"], row["second"]) == (pytest.approx(0.5), pytest.approx(0.1))
    assert row["difference"]["n"] == 2
    assert row["difference"]["low"] == pytest.approx(0.2)
    assert row["difference"]["high"] == pytest.approx(0.6)
    assert row["chief"]


def test_a_single_case_is_paired_over_seeds():
    first, second = (
        [Scores([{"case": "test", "label": "all", "ari": v}]) for v in values] for values in ((1, 2), (0, 0))
    )
    (row,) = paired_rows(first, second)
    assert (row["over"], row["difference"]["n"], row["difference"]["mean"]) == ("seeds", 2, 1.5)
