import pytest

from medgraph.runner.summary import verdict


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.01, 0.03, "pre-training helped"),
        (-0.03, -0.01, "pre-training hurt"),
        (-0.01, 0.03, "no difference can be claimed"),
    ],
)
def test_the_verdict_follows_the_interval(low, high, words):
    row = {"num_labelled": 4, "difference": {"mean": (low + high) / 2, "low": low, "high": high, "n": 16}}
    assert words in verdict(row)
    assert "over 16 volumes" in verdict(row)
