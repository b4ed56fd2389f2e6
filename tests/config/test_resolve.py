"""What is resolved loads again as the same pipeline; overrides change exactly what they name."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medgraph import config
from medgraph.errors import ConfigError

VALUES = {
    "first.method.loss.temperature": st.floats(1e-300, 1e300) | st.integers(1, 10**9),
    "second.method.loss.mode": st.sampled_from(["hard", "soft"]),
    "first.method.width": st.integers(-(10**12), 10**12),
    "second.data.root": st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1).map(repr),
    "second.data.size": st.lists(st.integers(), min_size=2, max_size=2),
    "first.data.axis": st.none() | st.integers(),
    "second.method.transforms.0.probability": st.floats(0, 1),
    "first.train.clip_norm": st.none() | st.floats(1e-6, 1e6),
    "seed": st.integers(0, 2**31 - 1),
}


def look_up(pipeline, path):
    """The value under a dotted key."""
    head, *rest = path.split(".")
    value = getattr(pipeline, head) if head == "seed" else pipeline.stages[head]
    for key in rest:
        value = (
            value[int(key)]
            if isinstance(value, list)
            else value[key]
            if isinstance(value, dict)
            else getattr(value, key)
        )
    return value


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chosen=st.fixed_dictionaries({}, optional=VALUES))
def test_overrides_arrive_and_survive_the_round_trip(write, chosen):
    path = write()
    overrides = [f"{key}={'null' if value is None else value}" for key, value in chosen.items()]
    pipeline = config.load(path, overrides)
    for key, value in chosen.items():
        assert look_up(pipeline, key) == (value.strip("'") if isinstance(value, str) else value)
    again = path.with_name("again.yaml")
    again.write_text(config.resolved(pipeline))
    loaded = config.load(again)
    assert {n: s.digest for n, s in loaded.stages.items()} == {n: s.digest for n, s in pipeline.stages.items()}
    assert config.resolved(loaded).splitlines()[1:] == [
        line for line in config.resolved(pipeline).splitlines()[1:] if not line.startswith("# Override")
    ]


def test_overrides_are_named_in_the_text(write):
    assert "# Override: 'seed=8'" in config.resolved(config.load(write(), ["seed=8"]))


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("first.method.loss.temprature=1", "command line: first.method.loss.temprature: Loss has no such parameter; "
         "did you mean 'temperature'?"),
        ("first.mehtod.loss.temperature=1", "command line: first.mehtod: a stage of kind 'train' has no such key; "
         "did you mean 'method'?"),
        ("frist.train.epochs=1", "command line: frist.train.epochs: no stage is called 'frist'; "
         "did you mean 'first'?"),
        ("seed.x=3", "command line: seed.x: 'seed' has no keys below it; write seed=VALUE"),
        ("first.method." + "a." * 3000 + "b=1", "command line: first.method." + "a." * 3000 + "b: expected a key of "
         "fewer than 50 levels"),
        ("seed=0b_", "command line: seed: '0b_' cannot be read as int; if it is text, put it in quotes."),
        ("first.train.epochs=many", "command line: first.train.epochs: expected int, got 'many'"),
        ("first.train.epochs", "command line: first.train.epochs: expected key.path=value, "
         "e.g. pretrain.train.epochs=3"),
        ("first.train.epochs.x=1", "command line: first.train.epochs.x: 'x' has no place here: above it stands "
         "the value 2"),
        ("first.method.transforms.5.probability=1", "command line: first.method.transforms.5.probability: "
         "expected a position from 0 to 1, got '5'"),
        ("first.data.size=[1", "command line: first.data.size: broken YAML: "
         "expected ',' or ']', but got '<stream end>'"),
        ("second.start_from=third", "command line: second.start_from: expected an earlier stage, got 'third': "
         "it is not among the stages before 'second'. Known: first."),
    ],
)  # fmt: skip
def test_wrong_override_gives_one_line(write, override, line):
    with pytest.raises(ConfigError) as caught:
        config.load(write(), [override])
    assert str(caught.value).splitlines() == [line]
