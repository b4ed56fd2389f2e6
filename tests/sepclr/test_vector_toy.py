"""SepCLR learns: on a toy with known factors, each term does what it is there for."""

import pytest
from reference.vector_toy import scores, train

STEPS = 350


@pytest.fixture(scope="module")
def found():
    """Scores of the full method, of no independence term, and of no collapse of the background."""
    arms = {"full": {}, "no independence": {"independence_weight": 0.0}, "no collapse": {"collapse_weight": 0.0}}
    return {name: scores(train(seed=0, steps=STEPS, **settings)) for name, settings in arms.items()}


@pytest.mark.slow
def test_the_independence_term_takes_salient_factors_out_of_the_common_code(found):
    full, without = found["full"], found["no independence"]
    assert without["salient from common"] - full["salient from common"] > 0.4
    assert full["group from common"] < 0.75 < without["group from common"]
    assert full["common from common"] > 0.4  # and does not empty it


@pytest.mark.slow
def test_the_salient_code_holds_salient_factors_and_the_group(found):
    assert found["full"]["salient from salient"] > 0.7
    assert found["full"]["group from salient"] > 0.95


@pytest.mark.slow
def test_without_the_collapse_the_salient_code_says_less_about_the_group(found):
    assert found["no collapse"]["group from salient"] < 0.85
