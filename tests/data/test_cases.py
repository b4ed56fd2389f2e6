import pytest

from medgraph.data.cases import Case, of_part, with_parts
from medgraph.errors import DataError


class Listed:
    classes = ()

    def __init__(self, *cases):
        self.cases = cases

    def __repr__(self):
        return "Listed()"


def test_parts_are_given_by_subject(tmp_path):
    cases = [Case(f"{i}", f"s{i // 3}", tmp_path / f"{i}", None) for i in reversed(range(9))]
    split = with_parts(cases, (1 / 3, 1 / 3, 1 / 3), seed=0)
    assert [case.id for case in split] == [f"{i}" for i in range(9)]
    assert len({(case.subject, case.part) for case in split}) == 3
    assert of_part(Listed(*split), "test") == tuple(case for case in split if case.part == "test")


def test_an_empty_part(tmp_path):
    with pytest.raises(DataError, match=r"Listed\(\): no volume in the part 'test', expected at least one"):
        of_part(Listed(Case("a", "a", tmp_path / "a", None, "train")), "test")
