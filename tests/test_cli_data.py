"""The verb `data`: folders by what lies in them, pipelines by the sources they name."""

import pytest
from reference.graphs import random_graph
from typer.testing import CliRunner

from medgraph import cli
from medgraph.data.saved_graph import save_graph
from medgraph.errors import MedgraphError


def described(*arguments):
    return CliRunner().invoke(cli.app, ["data", *arguments])


def test_a_file_is_described(tmp_path):
    save_graph(random_graph(), tmp_path / "g.npz")
    done = described(str(tmp_path / "g.npz"))
    assert done.exit_code == 0
    assert "path   pap: paper-author-paper" in done.stdout


def test_a_pipeline_is_described_by_its_sources_each_once():
    done = described("quickstart")
    assert done.exit_code == 0
    assert done.stdout.count("part   train") == 1
    assert "labels background, Anterior, Posterior" in done.stdout


def test_of_a_graph_what_the_stage_takes_is_described():
    done = described("meow-acm", "pretrain.data.metapaths=[psp]", "pretrain.data.top_k=[7]")
    assert done.exit_code == 0
    assert [line.split(":")[0] for line in done.stdout.splitlines() if line.startswith("path")] == ["path   psp"]
    assert "7 neighbours of each target on 1 meta-paths 219.8 KiB" in done.stdout
    wrong = described("meow-acm", "pretrain.data.metapaths=[pa]")
    assert "meta-path 'pa': ends at 'author', expected the target type 'paper'" in str(wrong.exception)


def test_changes_are_for_pipelines(tmp_path):
    done = described(str(tmp_path), "a.b=1")
    assert done.exit_code == 2
    assert "only a pipeline takes changes" in done.stderr


def test_a_pipeline_without_sources(monkeypatch):
    monkeypatch.setattr(cli, "_sources", lambda part: [])
    done = described("quickstart")
    assert isinstance(done.exception, MedgraphError)
    assert "quickstart: no stage has a source of data that could be described" in str(done.exception)


@pytest.mark.parametrize(("value", "count"), [({"name": "x"}, 1), ([{"name": "x"}, {"name": "y"}], 2), (None, 1)])
def test_sources_of_a_data_part(value, count):
    key = "sources" if isinstance(value, list) else "source"
    part = {"name": "slices", key: value, "size": [1, 2]}
    found = cli._sources(part)
    assert len(found) == count
    assert found == cli._sources({"name": "mixed", "data": [part]})
    assert value is not None or found == [(part, "data", {})]  # names no source: described itself


def test_a_pipeline_of_grouped_volumes_and_one_of_several_sets_are_described():
    done = described("smoke-sepclr")
    assert done.exit_code == 0
    assert "part   train         24 volumes of 12 subjects, 24 with labels" in done.stdout
    done = described("smoke-sepclr-shapes")
    assert "examples of 1 x" in done.stdout
    assert described("smoke-mixed").stdout.count("part   train") >= 1
