"""A number of labels is that number; a share is rounded up as it is written."""

import pytest

from medgraph import checks
from medgraph.data.label_counts import label_count, labelled_words, told_count


@pytest.mark.parametrize(
    ("num_labelled", "total", "expected"),
    [
        (None, 30, 30),
        (1, 30, 1),
        (0.1, 30, 3),  # 0.1 * 30 is 3.0000000000000004
        (0.07, 100, 7),  # 0.07 * 100 is 7.000000000000001
        (0.1, 31, 4),
        (0.001, 30, 1),
        (1e-05, 30, 1),
        (0.999, 30, 30),
    ],
)
def test_a_share_is_rounded_up_and_a_number_is_taken(num_labelled, total, expected):
    assert label_count(num_labelled, total) == expected


def test_both_are_told_in_words():
    assert [labelled_words(x) for x in (4, "all", 0.1, 0.07, 0.125)] == ["4", "all", "10 %", "7 %", "12.5 %"]
    assert told_count(9, 4) == "9"
    assert told_count(0.1, 12) == "0.1, which is 2 of 12"


def test_one_is_a_number_and_shares_lie_between_nothing_and_all():
    assert checks.count_or_share("num_labelled", 1) == 1
    assert checks.count_or_share("num_labelled", 0.1, 2) == 0.1
    for wrong in (0.0, 1.0, 2.5, -0.1, float("nan")):
        with pytest.raises(ValueError, match=r"num_labelled: expected a whole number, or a share above 0 and below 1"):
            checks.count_or_share("num_labelled", wrong)
    with pytest.raises(ValueError, match="num_labelled: expected 2 or more, got 1"):
        checks.count_or_share("num_labelled", 1, 2)
