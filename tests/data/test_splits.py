from collections import Counter

import pytest

from medgraph.data.splits import check_disjoint, kept_aside, split_subjects
from medgraph.errors import DataError

SUBJECTS = [f"s{i}" for i in range(20)]


def test_fractions_are_kept_and_every_subject_has_one_part():
    parts = split_subjects(SUBJECTS * 2, (0.7, 0.1, 0.2), seed=0)
    assert Counter(parts.values()) == {"train": 14, "validation": 2, "test": 4}
    assert set(parts) == set(SUBJECTS)


def test_order_does_not_matter_and_the_seed_does():
    parts = split_subjects(SUBJECTS, (0.5, 0, 0.5), seed=0)
    assert parts == split_subjects(reversed(SUBJECTS), (0.5, 0, 0.5), seed=0)
    assert parts != split_subjects(SUBJECTS, (0.5, 0, 0.5), seed=1)
    assert set(parts.values()) == {"train", "test"}


@pytest.mark.parametrize("count", [3, 4, 5, 7])
def test_small_sets_fill_every_part(count):
    assert set(split_subjects(SUBJECTS[:count], (0.8, 0.1, 0.1), 0).values()) == {"train", "validation", "test"}


def test_too_few_subjects():
    with pytest.raises(DataError, match="2 subjects for 3 parts"):
        split_subjects(SUBJECTS[:2], (0.7, 0.1, 0.2), 0)


@pytest.mark.parametrize("fractions", [(0.5, 0.5), (0.5, 0.1, 0.1), (1.2, -0.2, 0.0)])
def test_wrong_fractions(fractions):
    with pytest.raises(ValueError, match="fractions: expected three numbers that sum to 1"):
        split_subjects(SUBJECTS, fractions, 0)


def test_a_torn_subject():
    check_disjoint([("a", "train"), ("a", "train"), ("b", "test")], "x.json")
    with pytest.raises(
        DataError, match=r"x.json: subject 'a' lies in test and train, expected each subject in one part"
    ):
        check_disjoint([("a", "train"), ("a", "test")], "x.json")
    with pytest.raises(DataError, match="1 more subjects too"):
        check_disjoint([("a", "train"), ("a", "test"), ("b", "train"), ("b", "test")], "x.json")


def test_a_share_of_each_group_is_kept_aside_always_the_same():
    groups = [0] * 10 + [1] * 4 + [2]
    aside = kept_aside(groups, 0.2)
    assert [int(aside[part].sum()) for part in (slice(0, 10), slice(10, 14), slice(14, 15))] == [2, 1, 1]
    assert (aside == kept_aside(groups, 0.2)).all()
    assert not kept_aside(groups, 0.0).any()
