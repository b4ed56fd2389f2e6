import json

import numpy as np
import pytest

from medgraph.errors import DataError
from medgraph.evaluation import per_case
from medgraph.evaluation.bootstrap import mean_interval, t_interval
from medgraph.evaluation.paired import paired_rows
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


def test_the_interval_is_that_of_the_summary_where_cases_have_different_labels():
    rows = [{"case": "a", "label": label, "dice": 0.9} for label in ("front", "back", "top")]
    rows += [{"case": case, "label": "front", "dice": dice} for case, dice in (("b", 0.5), ("c", 0.6), ("d", 0.4))]
    scores = Scores(rows)
    assert scores.summary()["mean dice"] == pytest.approx(0.6)  # cases count alike, not rows
    assert np.mean(scores.intervals()["mean dice"]) == pytest.approx(0.6)
    assert paired_rows([scores], [scores])[-1]["first"] == pytest.approx(0.6)


def test_what_is_written_is_read_again(tmp_path):
    scores = Scores(ROWS, [{"case": "a", "image": [[0]], "truth": [[1]], "prediction": [[1]]}])
    scores.to_json(tmp_path / "scores.json")
    assert Scores.from_json(tmp_path / "scores.json") == scores
    assert [p.name for p in tmp_path.iterdir()] == ["scores.json"]


def test_what_is_no_number_is_null_in_the_file_and_comes_back(tmp_path):
    path = tmp_path / "scores.json"
    rows = [{"case": "a", "label": "front", "auc": float("nan"), "mae": float("inf"), "dice": 0.5}]
    drawn = [{"case": "a", "label": "front", "scores": [0.5, float("nan")]}]
    Scores(rows, resampled=drawn).to_json(path)
    stored = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert stored["rows"] == [{"case": "a", "label": "front", "auc": None, "mae": None, "dice": 0.5}]
    assert stored["summary"]["mean auc"] is None
    again = Scores.from_json(path)
    np.testing.assert_equal(again.rows, [{**rows[0], "mae": float("nan")}])
    np.testing.assert_equal(again.resampled, drawn)
    path.write_text(path.read_text().replace("null", "NaN"))  # as an earlier version wrote it
    np.testing.assert_equal(Scores.from_json(path).rows, again.rows)


@pytest.mark.parametrize(
    "text",
    ["{}", "[]", '{"rows": [', '{"rows": 3, "overlays": []}', '{"rows": ["a"], "overlays": []}', b"\xff\xfe\x00"],
)
def test_another_file_is_named_with_what_to_do(tmp_path, text):
    (tmp_path / "scores.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=r"scores\.json: expected scores as written by an evaluator .*by --resume"):
        Scores.from_json(tmp_path / "scores.json")


def test_an_interval_of_a_share_ends_at_1_and_one_in_percent_does_not():
    values, predicted = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.1, 2.0, 2.0, 4.0])
    shares = {"r2": per_case.r_squared(values, predicted)}
    assert mean_interval(shares["r2"])[1] > 1
    low, high = Scores.of_whole("age", list("abcd"), shares).intervals()["age r2"]
    assert low < 1
    assert high == 1
    percent = {"auc": np.array([99.0, 101.0, 98.0, 102.0])}
    assert Scores.of_whole("node", list("abcd"), percent).intervals()["node auc"][1] > 100


@pytest.mark.parametrize(("name", "lowest"), [("dice", 0), ("recall", 0), ("accuracy", 0), ("hd95", 0), ("ari", -0.5)])
def test_an_interval_ends_where_its_metric_does(name, lowest):
    values = [0.0, 0.0, 1.0]
    scores = Scores([{"case": str(case), "label": "front", name: value} for case, value in enumerate(values)])
    low, high = scores.intervals()[f"front {name}"]
    assert t_interval(np.array(values))[0] < -0.9
    assert low == lowest
    assert high == 1 or name == "hd95"


@pytest.mark.parametrize("n", [2, 3, 9, 10])
def test_few_cases_have_a_t_interval_and_fewer_none(n):
    values = np.random.default_rng(n).uniform(0.4, 0.6, n)
    scores = Scores([{"case": str(case), "label": "front", "dice": value} for case, value in enumerate(values)])
    expected = {3: t_interval, 9: t_interval, 10: mean_interval}
    assert scores.intervals().get("front dice") == (expected[n](values) if n in expected else None)
    assert scores.intervals().keys() == ({"front dice", "mean dice"} if n in expected else set())
