"""One part built from the text of a config, the way a pipeline does it."""

from medgraph import config
from medgraph.config import parts, read


def from_yaml(text, kind):
    """The object that `text` describes. AssertionError with the checker's findings if it is wrong."""
    errors = []
    findings = parts.Findings()
    node = parts.check_part(read.read_text(text, "test.yaml", errors), kind, "part", findings)
    assert not errors + findings.errors, errors + findings.errors
    return config.build(node, kind)
