import pytest

from medgraph.runner.summary import example_input, verdict

ROW = {"num_labelled": 4, "arms": ["pretrained", "from scratch"], "seeds": [[0.8, 0.7], [0.6, 0.7], [0.9, 0.7]]}


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
    row = {**ROW, "label": "mean", "metric": "dice", "over": "cases", "difference": difference}
    assert words in verdict(row)
    assert "over 16 cases" in verdict(row)


def test_a_smaller_error_is_a_help():
    difference = {"mean": -2.0, "low": -3.0, "high": -1.0, "n": 16}
    row = {**ROW, "label": "age", "metric": "mae", "over": "seeds", "difference": difference}
    assert "pre-training helped: mean absolute error -2.0000" in verdict(row)


@pytest.mark.parametrize(
    ("over", "seeds", "words", "ends"),
    [
        ("seeds", [[0.8, 0.7]], "1 seed gives no interval", "Dice +0.1000, one seed."),
        ("seeds", [[0.8, 0.7]] * 2, "2 seeds give no interval", "in the same direction with 2 of 2 seeds."),
        ("cases", [[0.8, 0.7]] * 2, "2 cases give no interval", "in the same direction with 2 of 2 seeds."),
    ],
)
def test_without_an_interval_no_difference_can_be_claimed(over, seeds, words, ends):
    difference = {"mean": 0.1, "low": None, "high": None, "n": len(seeds)}
    said = verdict({**ROW, "seeds": seeds, "label": "all", "metric": "dice", "over": over, "difference": difference})
    assert f"pretrained and from scratch, no difference can be claimed, because {words}: Dice +0.1000" in said
    assert said.endswith(ends)


@pytest.mark.parametrize(
    ("arms", "better", "worse"),
    [
        (["pretrained", "from scratch"], "pre-training helped", "pre-training hurt"),
        (["pretrained", "foreign"], "better than the foreign encoder", "the foreign encoder was better"),
        (["foreign", "from scratch"], "the foreign encoder helped", "the foreign encoder hurt"),
    ],
)
def test_each_pair_of_arms_has_its_words_and_the_seeds_that_agree(arms, better, worse):
    for mean, words, agree in ((0.1, better, 2), (-0.1, worse, 1)):
        difference = {"mean": mean, "low": mean - 0.05, "high": mean + 0.05, "n": 16}
        row = {**ROW, "arms": arms, "label": "mean", "metric": "dice", "over": "cases", "difference": difference}
        assert verdict({**row, "num_labelled": 0.1}).startswith("With 10 % labelled ")
        said = verdict({**row, "num_labelled": "all"})
        assert said.startswith("With all labelled ")
        assert words in said
        assert said.endswith(f"over 16 cases, in the same direction with {agree} of 3 seeds.")
    unsure = {**row, "difference": {"mean": 0.0, "low": -0.1, "high": 0.1, "n": 16}, "seeds": [[0.8, 0.7]]}
    assert f"{arms[0]} and {arms[1]}, no difference can be claimed" in verdict(unsure)
    assert verdict(unsure).endswith("over 16 cases, one seed.")


def test_the_example_input_of_a_graph_encoder_is_its_views(tmp_path):
    (tmp_path / "encoder.json").write_text('{"encoder": {}, "spec": {"target_type": "paper"}, "facts": {}}')
    assert example_input(tmp_path) == "data.views"
