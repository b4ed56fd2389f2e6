import pytest

from medgraph.runner.summary import example_input, verdict


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.01, 0.03, "pre-training helped"),
        (-0.03, -0.01, "pre-training hurt"),
        (-0.01, 0.03, "no difference can be claimed"),
    ],
)
def test_the_verdict_follows_the_interval(low, high, words):
    difference = {"mean": (low + high) / 2, "low": low, "high": high, "n": 16}
    row = {"num_labelled": 4, "label": "mean", "metric": "dice", "over": "cases", "difference": difference}
    assert words in verdict(row)
    assert "over 16 cases" in verdict(row)


def test_a_smaller_error_is_a_help():
    difference = {"mean": -2.0, "low": -3.0, "high": -1.0, "n": 16}
    row = {"num_labelled": 4, "label": "age", "metric": "mae", "over": "seeds", "difference": difference}
    assert "pre-training helped: mean absolute error -2.0000" in verdict(row)


def test_the_example_input_of_a_graph_encoder_is_its_views(tmp_path):
    (tmp_path / "encoder.json").write_text('{"spec": {"target_type": "paper"}}')
    assert example_input(tmp_path) == "data.views"
