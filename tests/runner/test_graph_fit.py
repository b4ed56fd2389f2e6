"""Encoders of graphs of tables that change after training, or that are others altogether."""

import numpy as np
import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from medgraph import config
from medgraph.cli import app
from medgraph.data.spec import settled
from medgraph.errors import ConfigError, DataError
from medgraph.runner.embed_nodes import embed_nodes
from medgraph.runner.export import export_encoder
from medgraph.runner.graph_fit import graph_facts

PEOPLE = "id,age,sex\n007,40,f\n8,50,m\n9,60,f\n"
VISITS = "who,drug\n007,a\n8,a\n9,b\n8,b\n"
NODES = {"person": {"file": "people.csv", "key": "id", "numeric": ["age"], "categorical": ["sex"]}, "drug": {}}
EDGE = {"file": "visits.csv", "source": "person", "relation": "takes", "destination": "drug"}
EDGE |= {"source_key": "who", "destination_key": "drug"}


def write(folder, people=PEOPLE, visits=VISITS):
    folder.mkdir(exist_ok=True)
    (folder / "people.csv").write_text(people)
    (folder / "visits.csv").write_text(visits)
    return folder


def exported(folder, root, facts=True, nodes=NODES, wrapped=False, extract="clean"):
    """An encoder as a run leaves it, with what it keeps of its data."""
    source = {"name": "tables", "root": str(root), "target_type": "person", "nodes": nodes, "edges": [EDGE]}
    node = {"name": "metapath_views", "source": source, "metapaths": ["pdp"], "masked_copies": False}
    node |= {"source": {"name": "factorized_walks", "source": source, "dim": 4}} if wrapped else {}
    part = {"name": "metapath", "dim": 4, "norm": "row", "extract": extract}
    data = config.build(node, "data", seed=0)
    told = {"data": settled(data, node) if facts else node, "seed": 0, **(graph_facts(data) if facts else {})}
    export_encoder(folder, config.build(part, "encoders", spec=data.spec), part, data.spec, told)
    return folder


def rows(encoder, out, **arguments):
    embed_nodes(encoder, out, device="cpu", **arguments)
    return np.load(out / "nodes.npy")


@pytest.mark.filterwarnings("ignore:(.*no instance of any|the graph is not the one)")
def test_another_category_does_not_move_the_columns(tmp_path):
    encoder = exported(tmp_path / "e", write(tmp_path / "t"))
    before = rows(encoder, tmp_path / "before")
    write(tmp_path / "t", PEOPLE.replace("40,f", "40,a") + "10,60,f\n")
    with pytest.warns(UserWarning, match="1 of 4 values are of no known category, as 'a'; set to zeros"):
        after = rows(encoder, tmp_path / "after")
    assert after.shape == (4, 4)
    assert not np.allclose(after[0], before[0])
    write(tmp_path / "t", PEOPLE + "10,600,a\n")  # no edge: nobody else knows of it
    with pytest.warns(UserWarning, match="1 of 4 values are of no known category"):
        after = rows(encoder, tmp_path / "added")
    np.testing.assert_allclose(after[:3], before, atol=1e-6)


def test_an_earlier_encoder_without_such_facts_embeds_its_graph(tmp_path):
    encoder = exported(tmp_path / "e", write(tmp_path / "t"), facts=False)
    assert rows(encoder, tmp_path / "out").shape == (3, 4)
    write(tmp_path / "t", PEOPLE.replace("40,f", "40,a"))
    with pytest.raises(DataError, match="does not fit the encoder: features of person are 3 wide in training, 4 here"):
        rows(encoder, tmp_path / "again")


@pytest.mark.filterwarnings("ignore:the graph is not the one")
def test_a_graph_that_does_not_fit_is_told_in_one_line(tmp_path):
    encoder = exported(tmp_path / "e", write(tmp_path / "t"))
    write(tmp_path / "t", visits=VISITS + "9,c\n")
    with pytest.raises(DataError, match=r"drug has no features, .* but there are 2 in training, 3 here"):
        rows(encoder, tmp_path / "out")
    write(tmp_path / "t")
    with pytest.raises(DataError, match="its meta-paths are pdp over drug, those of the graph pdpdp over drug-person"):
        rows(encoder, tmp_path / "out", changes=["metapaths=[pdpdp]"])


def test_another_graph_is_embedded_by_its_place(tmp_path):
    encoder = exported(tmp_path / "e", write(tmp_path / "t"))
    other = write(tmp_path / "other", "id,age,sex\nx,60,m\ny,40,m\n", "who,drug\nx,a\ny,b\n")
    out = tmp_path / "out"
    arguments = ["embed", str(encoder), "--out", str(out), "--device", "cpu", "--data", f"source.root={other}"]
    with pytest.warns(UserWarning, match="nodes of type drug have no features: the encoder knows them by their number"):
        assert CliRunner().invoke(app, arguments, catch_exceptions=False).exit_code == 0
    assert parquet.read_table(out / "nodes.parquet")["id"].to_pylist() == ["x", "y"]
    with pytest.raises(ConfigError, match=r"data.source.rot: TablesGraph has no such parameter; did you mean 'root'"):
        rows(encoder, tmp_path / "b", changes=["source.rot=x"])


def test_labels_need_not_be_there_to_embed(tmp_path):
    labelled = {**NODES, "person": {**NODES["person"], "label": "class", "split": "part"}}
    table = "id,age,sex,class,part\n007,40,f,a,train\n8,50,m,b,val\n9,60,f,a,test\n"
    with pytest.warns(UserWarning, match="no node of class"):
        encoder = exported(tmp_path / "e", write(tmp_path / "t", table), nodes=labelled)
    write(tmp_path / "t")
    assert rows(encoder, tmp_path / "out").shape == (3, 4)


@pytest.mark.filterwarnings("ignore:.*no instance of any")
def test_vectors_of_walks_are_of_one_graph_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDGRAPH_CACHE", str(tmp_path / "cache"))
    encoder = exported(tmp_path / "e", write(tmp_path / "t"), wrapped=True)
    assert rows(encoder, tmp_path / "out").shape == (3, 4)
    write(tmp_path / "t", visits=VISITS + "9,a\n")
    with pytest.raises(DataError, match="features of drug are vectors of walks, which mean nothing in another graph"):
        rows(encoder, tmp_path / "again")


def test_features_of_the_last_training_step_are_of_one_graph_alone(tmp_path):
    encoder = exported(tmp_path / "e", write(tmp_path / "t"), extract="last_train_forward")
    write(tmp_path / "t", PEOPLE.replace("40", "41"))
    with pytest.raises(DataError, match="hands on the features of its last training step"):
        rows(encoder, tmp_path / "again")


def test_a_place_that_is_relative_is_told_with_its_folder(tmp_path, monkeypatch):
    write(tmp_path / "t")
    monkeypatch.chdir(tmp_path)
    encoder = exported(tmp_path / "e", "t")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=r"lies in 't', relative to .*; from .*elsewhere it is not found.*source.root="):
        rows(encoder, tmp_path / "out")
    assert rows(encoder, tmp_path / "out", changes=["source.root=../t"]).shape == (3, 4)


def test_other_data_keep_nothing_of_a_graph():
    assert graph_facts(object()) == {}
