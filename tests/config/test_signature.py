"""Signatures read from source equal what the constructor does, without importing it."""

import inspect
import math
import sys

import pytest

from medgraph.config import schema, signature
from medgraph.errors import ConfigError


@pytest.fixture
def read(tmp_path, monkeypatch):
    """read(source) -> signature of its class `Part`."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def read(source: str) -> signature.Signature:
        (tmp_path / "single_part.py").write_text(source)
        signature.read.cache_clear()
        return signature.read("single_part:Part")

    return read


def test_constants_of_the_module_are_known(read):
    found = read(
        "import math\nA = 3\nB: int = A + 1\n"
        "class Part:\n    def __init__(self, a: int = B, b: float = math.inf): ...\n"
    )
    assert [p.default for p in found.parameters.values()] == [4, math.inf]
    assert "single_part" not in sys.modules


def test_aliases_and_quoted_annotations_are_types(read):
    found = read("Size = tuple[int, int]\nclass Part:\n    def __init__(self, a: Size, b: 'int | None' = None): ...\n")
    assert found.parameters["a"].annotation == tuple[int, int]
    assert found.parameters["b"].annotation == int | None


def test_constructor_is_inherited_within_a_file(read):
    found = read("class Other:\n    def __init__(self, a: int): ...\nclass Part(Other):\n    b = 1\n")
    assert list(found.parameters) == ["a"]
    assert read("class Part:\n    pass\n").parameters == {}


def test_only_checks_that_always_run_are_taken(read):
    found = read(
        "class Part:\n    def __init__(self, a: int, b: int, c: int, d: int, e: int, f: int):\n"
        "        self.a = checks.positive('a', a)\n"
        "        if b:\n            checks.positive('b', b)\n"
        "        c = c or 1\n        checks.positive('c', c)\n"
        "        d and checks.positive('d', d)\n"
        "        if checks.at_least('e', e, minimum=2) > a:\n            pass\n"
        "        checks.at_least('f', f, a)\n"
    )
    assert [(c.parameter, c.arguments, c.keywords) for c in found.checks] == [("a", (), {}), ("e", (), {"minimum": 2})]
    assert found.checks[0].run(-1) == "expected a number above 0, got -1"
    assert found.checks[0].run(1) is None


@pytest.mark.parametrize("made", [schema.Train, schema.Compare])
def test_dataclass_fields_equal_its_real_signature(made):
    ours = signature.read(f"medgraph.config.schema:{made.__name__}").parameters
    real = inspect.signature(made).parameters
    assert list(ours) == list(real)
    assert all(ours[n].required == (p.default is p.empty) for n, p in real.items())


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("class Part:\n    def __init__(self, *a): ...\n", "names every parameter"),
        ("class Part:\n    def __init__(self, a): ...\n", "'a' has no annotation"),
        ("class Part:\n    def __init__(self, a: int = f()): ...\n", "default of 'a' is not a literal"),
    ],
)
def test_part_that_cannot_be_a_schema_is_refused(read, source, message):
    with pytest.raises(TypeError, match=message):
        read(source)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("medgraph.config.schema:Trian", "defines no class Trian"),
        ("medgraph.config.nowhere:X", "no source file"),
        ("no_such_package.x:X", "package 'no_such_package' is not installed"),
    ],
)
def test_missing_source_is_told(target, message):
    with pytest.raises(ConfigError, match=message):
        signature.read(target)


def test_filled_parameters_and_name_are_no_keys(read):
    found = read("class Part:\n    def __init__(self, spec: X, seed: int, name: str = 'a', size: int = 1): ...\n")
    assert list(found.settable) == ["size"]
