"""YAML becomes plain values with places; broken text says where it breaks."""

import pytest

from medgraph.config import read
from medgraph.errors import ConfigError


def test_scalars_follow_yaml_1_2():
    text = "a: 1e-3\nb: on\nc: 1_000\nd: 0o17\ne: ~\nf: 2020-01-01\ng: [1, 2.5, true]\n"
    plain = read.read_text(text, "x.yaml", []).plain()
    assert plain == {"a": 0.001, "b": "on", "c": 1000, "d": 15, "e": None, "f": "2020-01-01", "g": [1, 2.5, True]}
    assert type(plain["a"]) is float


def test_a_file_may_say_that_it_is_yaml_1_2():
    assert read.read_text("%YAML 1.2\n---\na: on\n", "x.yaml", []).plain() == {"a": "on"}


def test_every_key_knows_line_and_column():
    root = read.read_text("a:\n  b: 1\n  c: {d: 2}\n", "x.yaml", [])
    assert root.value["a"].value["b"].origin == "x.yaml:2:3"
    assert root.value["a"].value["c"].value["d"].origin == "x.yaml:3:7"


def test_every_duplicate_key_is_told():
    errors: list[str] = []
    read.read_text("a: 1\na: 2\nb: {c: 1, c: 2}\n", "x.yaml", errors)
    assert errors == [
        "x.yaml:2:1: a: duplicate key; it stands at x.yaml:1:1 already",
        "x.yaml:3:11: c: duplicate key; it stands at x.yaml:3:5 already",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1\nb: 2\n", r"x\.yaml:2:\d+: broken YAML"),
        ("a: &x 1\nb: *x\n", r"x\.yaml:1:4: anchors and aliases"),
        ("[1, 2]: 3\n", r"x\.yaml:1:1: expected a word as key"),
        ("[" * 5000, r"x\.yaml: broken YAML: nested too deep"),
        ("a: \x07\n", r"x\.yaml.*: broken YAML"),
        ("b: 1\na: !!int abc\n", r"x\.yaml:2:4: 'abc' cannot be read as int"),
        ("a: !!float abc\n", r"x\.yaml:1:4: 'abc' cannot be read as float"),
        ("a: !!bool abc\n", r"x\.yaml:1:4: 'abc' cannot be read as bool"),
        ("a: !!int ''\n", r"x\.yaml:1:4: '' cannot be read as int"),
        ("a: -_\n", r"x\.yaml:1:4: '-_' cannot be read as int; if it is text, put it in quotes"),
        ("a: " + "9" * 5000, rf"x\.yaml:1:4: '{'9' * 40}\.\.\.' cannot be read as int"),
        ("a: 0x" + "f" * 5000, r"x\.yaml:1:4: '0xf+\.\.\.' cannot be read as int"),
        ("%YAML 1.1\n---\na: on\n", r"x\.yaml: is read as YAML 1\.2"),
    ],
)
def test_broken_text_says_where(text, message):
    with pytest.raises(ConfigError, match=message):
        read.read_text(text, "x.yaml", [])


def test_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"binary\.yaml: .*not UTF-8"):
        read.read_file(tmp_path / "binary.yaml", [])
    with pytest.raises(ConfigError, match=r"none\.yaml: .*No such file"):
        read.read_file(tmp_path / "none.yaml", [])


def test_a_glob_of_the_command_line_needs_no_quotes():
    root = read.read_text("a: {b: x}", "x.yaml", [])
    errors: list[str] = []
    overrides = ("a.b=*.NII.GZ", "a.c='*.png'")
    assert read.apply_overrides(root, overrides, lambda keys: keys, errors).plain() == {
        "a": {"b": "*.NII.GZ", "c": "*.png"}
    }
    assert errors == []
