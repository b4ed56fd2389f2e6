import pytest

from medgraph import config
from medgraph.errors import ConfigError

NODE = {
    "name": "tables",
    "root": "here",
    "target_type": "a",
    "nodes": {"a": {"file": "a.csv", "key": "id"}},
    "edges": [],
}


def test_a_stored_part_is_changed_by_dotted_keys_and_checked_again():
    changed = config.with_changes(NODE, "sources", ["root=there", "nodes.a.key=number"], "data.source")
    assert (changed["root"], changed["nodes"]) == ("there", {"a": {"file": "a.csv", "key": "number"}})
    assert NODE["root"] == "here"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("rot=x", "data.source.rot: TablesGraph has no such parameter; did you mean 'root'"),
        ("root=3", "data.source.root: expected .*, got 3"),
        ("root", "root: expected key.path=value"),
        ("root=[", "command line: root: broken YAML"),
    ],
)
def test_changes_that_do_not_fit_are_named(change, message):
    with pytest.raises(ConfigError, match=message):
        config.with_changes(NODE, "sources", [change], "data.source")
