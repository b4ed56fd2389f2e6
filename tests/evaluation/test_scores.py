import pytest

from medgraph.errors import DataError
from medgraph.evaluation.scores import Scores

ROWS = [
    {"case": "a", "label": "front", "dice": 0.5, "hd95": 1.0},
    {"case": "b", "label": "front", "dice": 0.7, "hd95": 3.0},
    {"case": "a", "label": "back", "dice": 0.9, "hd95": 2.0},
    {"case": "b", "label": "back", "dice": 0.9, "hd95": 2.0},
]


def test_the_summary_averages_over_cases_and_labels():
    summary = Scores(ROWS).summary()
    assert summary["front dice"] == pytest.approx(0.6)
    assert summary["mean dice"] == pytest.approx(0.75)
    assert summary["mean hd95"] == pytest.approx(2.0)


def test_what_is_written_is_read_again(tmp_path):
    scores = Scores(ROWS, [{"case": "a", "image": [[0]], "truth": [[1]], "prediction": [[1]]}])
    scores.to_json(tmp_path / "scores.json")
    assert Scores.from_json(tmp_path / "scores.json") == scores
    assert [p.name for p in tmp_path.iterdir()] == ["scores.json"]


def test_another_file_is_named(tmp_path):
    (tmp_path / "scores.json").write_text("{}")
    with pytest.raises(DataError, match="expected scores as written by an evaluator"):
        Scores.from_json(tmp_path / "scores.json")
