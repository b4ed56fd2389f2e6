"""A fine-tuned classifier of nodes is kept with its run, and tells the class of every target of a graph."""

import csv
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import medgraph
from medgraph import config
from medgraph.cli import app
from medgraph.data.node_metrics import f1
from medgraph.data.spec import settled
from medgraph.errors import ConfigError, DataError
from medgraph.evaluation.scores import Scores
from medgraph.runner.graph_fit import graph_facts
from medgraph.runner.model import export_model, load_model
from medgraph.runner.predict_nodes import predict_nodes

PIPELINE = """
name: nodes
seed: 3
stages:
  pretrain:
    config:
      kind: train
      data: {name: metapath_views, source: {name: planted_graph, num_targets: 150}, top_k: [20]}
      method:
        name: meow
        encoder: {name: metapath, dim: 16}
        loss: {name: info_nce}
        prototype_weight: 0.0
        num_clusters: [1]
        embedding_dim: 16
      train: {epochs: 2, batch_size: 1, optimizer: {name: adam}, schedule: {name: constant}}
  finetune:
    start_from: pretrain
    config:
      kind: train
      data: {name: labelled_nodes, num_labelled: 20, graph_data: GRAPH}
      method: {name: node_classification, encoder: {name: metapath, dim: 16}}
      evaluator: {name: node_classifier}
      train: {epochs: 20, batch_size: 1, members: 2, optimizer: {name: adam, lr: 0.01}, schedule: {name: constant}}
""".replace("GRAPH", "{name: metapath_views, source: {name: planted_graph, num_targets: 150}, top_k: [20]}")
EDGE = {"file": "visits.csv", "source": "person", "relation": "takes", "destination": "drug"}
EDGE |= {"source_key": "who", "destination_key": "drug"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("nodes") / "nodes.yaml"
    path.write_text(PIPELINE)
    return medgraph.run(path, out=path.parent / "run", device="cpu")


def rows_of(folder):
    with (folder / "predictions.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def written(folder, people, visits):
    folder.mkdir(exist_ok=True)
    (folder / "people.csv").write_text(people)
    (folder / "visits.csv").write_text(visits)
    return folder


@pytest.fixture
def of_tables(tmp_path):
    """A model of a graph of tables as a run leaves it, not trained."""
    people = "class,age,ill,part\n007,40,yes,train\n8,50,no,train\n9,60,yes,val\n10,70,no,test\n"
    root = written(tmp_path / "t", people, "who,drug\n007,a\n8,a\n9,b\n10,b\n")
    person = {"file": "people.csv", "key": "class", "numeric": ["age"], "label": "ill", "split": "part"}
    source = {"name": "tables", "root": str(root), "target_type": "person", "nodes": {"person": person, "drug": {}}}
    views = {"name": "metapath_views", "source": {**source, "edges": [EDGE]}, "masked_copies": False}
    node = {"name": "labelled_nodes", "graph_data": views}
    data = config.build(node, "data", seed=0)
    with pytest.warns(UserWarning, match="no node of class"):
        data.graph  # noqa: B018
    stage = SimpleNamespace(method={"name": "node_classification", "encoder": {"name": "metapath", "dim": 4}})
    stage.data = settled(data, node)
    method = config.build(stage.method, "methods", spec=data.spec)
    export_model(tmp_path / "model", method, stage, data.spec, {"seed": 0, **graph_facts(data)})
    return tmp_path / "model"


@torch.no_grad()
def test_every_target_has_the_mean_of_the_members_probabilities(run, tmp_path):
    predict_nodes(run, tmp_path, device="cpu")
    rows = rows_of(tmp_path)
    assert [int(row["node"]) for row in rows] == list(range(150))
    data = config.build(config.load(run / "pipeline.yaml").stages["finetune"].data, "data", seed=3)
    classes, views = data.graph.classes, data.graph_data.views
    members = [load_model(run / "finetune" / f"member-{k}" / "model") for k in (1, 2)]
    each = [model.method.predict(views.of_member(k)).softmax(1) for k, model in enumerate(members)]
    found = torch.tensor([[float(row[name]) for name in classes] for row in rows])
    torch.testing.assert_close(found, torch.stack(each).mean(dim=0))
    assert (each[0] - each[1]).abs().max() > 0.01
    assert [row["class"] for row in rows] == [classes[index] for index in found.argmax(1)]
    test = data.parts["test"]
    macro, _ = f1(found[test].argmax(1)[None], data.graph.labels[test], len(classes))
    (scored,) = Scores.from_json(run / "finetune" / "scores.json").rows
    assert scored["macro_f1"] == pytest.approx(100 * float(macro))
    predict_nodes(run / "finetune" / "member-2" / "model", tmp_path / "alone", device="cpu")
    alone = torch.tensor([[float(row[name]) for name in classes] for row in rows_of(tmp_path / "alone")])
    torch.testing.assert_close(alone, each[1])


def test_a_folder_with_brackets_is_told_as_it_is(run, tmp_path, capsys):
    predict_nodes(run, tmp_path / "out[/b][red]", device="cpu")
    assert "out[/b][red]/predictions.csv" in capsys.readouterr().out


def test_the_command_takes_no_images_of_a_graph(run, tmp_path):
    arguments = ["predict", str(run), "--out", str(tmp_path / "a"), "--device", "cpu"]
    assert CliRunner().invoke(app, arguments, catch_exceptions=False).exit_code == 0
    assert len(rows_of(tmp_path / "a")) == 150
    for extra, told in (
        ([str(tmp_path)], "a model of a graph takes no IMAGES"),
        (["--probabilities"], "--probabilities: has no effect on a graph"),
        ([], "already holds predictions.csv; choose another folder"),
    ):
        result = CliRunner().invoke(app, [*arguments, *extra])
        assert isinstance(result.exception, ConfigError)
        assert told in str(result.exception)


@pytest.mark.filterwarnings("ignore:.*no instance of any meta-path")
def test_nodes_of_another_graph_have_their_keys_and_need_no_labels(of_tables, tmp_path):
    other = written(tmp_path / "other", "class,age\nx,70\ny,40\n", "who,drug\nx,a\ny,b\n")
    with pytest.warns(UserWarning, match="nodes of type drug have no features"):
        predict_nodes(of_tables, tmp_path / "out", changes=[f"graph_data.source.root={other}"], device="cpu")
    rows = rows_of(tmp_path / "out")
    assert list(rows[0]) == ["node", "class_key", "class", "no", "yes"]
    assert [row["class_key"] for row in rows] == ["x", "y"]
    assert all(row["class"] == max(("no", "yes"), key=lambda name: float(row[name])) for row in rows)
    assert np.allclose([float(row["no"]) + float(row["yes"]) for row in rows], 1)
    written(tmp_path / "other", "class,age\nx,70\ny,40\n", "who,drug\nx,a\n")
    with pytest.raises(DataError, match=r"does not fit the encoder: drug has no features, .* 2 in training, 1 here"):
        predict_nodes(of_tables, tmp_path / "b", changes=[f"graph_data.source.root={other}"], device="cpu")


def test_a_model_of_images_needs_images(tmp_path):
    (tmp_path / "model.json").write_text('{"method": {}, "data": {}, "spec": {"spatial_dims": 2}, "facts": {}}')
    for extra, told in (([], "a model of images needs IMAGES"), ([str(tmp_path), "--data", "a=b"], "--data: is for")):
        result = CliRunner().invoke(app, ["predict", str(tmp_path), *extra, "--out", str(tmp_path / "b")])
        assert told in str(result.exception)
