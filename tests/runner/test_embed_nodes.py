import numpy as np
import pytest
import torch
from pyarrow import parquet
from typer.testing import CliRunner

import medgraph
from medgraph import config
from medgraph.cli import app
from medgraph.errors import ConfigError
from medgraph.runner.embed_nodes import embed_nodes, is_of_a_graph
from medgraph.runner.export import export_encoder

SHORT = ("pretrain.train.epochs=2", "probe.evaluator.num_probes=2", "probe.evaluator.num_steps=3")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return medgraph.run("smoke-meow", SHORT, out=tmp_path_factory.mktemp("meow") / "run", device="cpu")


def test_every_node_has_the_row_that_the_encoder_gives(run, tmp_path):
    assert is_of_a_graph(run)
    embed_nodes(run, tmp_path / "out", device="cpu")
    array = np.load(tmp_path / "out" / "nodes.npy")
    table = parquet.read_table(tmp_path / "out" / "nodes.parquet")
    assert table["node"].to_pylist() == list(range(150))
    assert np.array_equal(np.stack(table["embedding"].to_numpy(zero_copy_only=False)), array)
    stage = config.load(run / "pipeline.yaml").stages["pretrain"]
    views = config.build(stage.data, "data", seed=0).views
    features = medgraph.load_encoder(run / "pretrain" / "encoder")(views)
    assert torch.equal(features, torch.from_numpy(array))


@pytest.mark.filterwarnings("ignore:.*no instance of any meta-path")
@pytest.mark.parametrize(("key", "column"), [("id", "id"), ("node", "node"), ("embedding", "embedding_key")])
@pytest.mark.parametrize(
    ("data", "encoder"), [("metapath_views", "metapath"), ("metapath_batches", "metapath_sampled")]
)
def test_nodes_of_tables_have_their_keys_as_the_table_writes_them(tmp_path, key, column, data, encoder):
    (tmp_path / "people.csv").write_text(f"{key},age\n007,40\n8,50\n9,60\n")
    (tmp_path / "visits.csv").write_text("who,drug\n007,a\n8,a\n9,b\n")
    edges = [{"file": "visits.csv", "source": "person", "relation": "takes", "destination": "drug"}]
    edges[0] |= {"source_key": "who", "destination_key": "drug"}
    nodes = {"person": {"file": "people.csv", "key": key, "numeric": ["age"]}, "drug": {}}
    source = {"name": "tables", "root": str(tmp_path), "target_type": "person", "nodes": nodes, "edges": edges}
    node, part = {"name": data, "source": source, "metapaths": ["pdp"]}, {"name": encoder, "dim": 4}
    spec = config.build(node, "data", seed=0).spec
    export_encoder(tmp_path / "e", config.build(part, "encoders", spec=spec), part, spec, {"data": node, "seed": 0})
    embed_nodes(tmp_path / "e", tmp_path / "out", device="cpu")
    table = parquet.read_table(tmp_path / "out" / "nodes.parquet")
    assert table[column].to_pylist() == ["007", "8", "9"]
    assert column == "node" or table["node"].to_pylist() == [0, 1, 2]
    assert np.stack(table["embedding"].to_numpy(zero_copy_only=False)).shape == (3, 4)


def test_features_are_not_overwritten(run, tmp_path):
    (tmp_path / "nodes.npy").touch()
    with pytest.raises(ConfigError, match=r"already holds nodes\.npy; choose another folder"):
        embed_nodes(run, tmp_path)


def test_the_command_writes_nodes_and_takes_no_images(run, tmp_path):
    runner = CliRunner()
    assert runner.invoke(app, ["embed", str(run), "--out", str(tmp_path / "a")]).exit_code == 0
    assert (tmp_path / "a" / "nodes.npy").exists()
    result = runner.invoke(app, ["embed", str(run), str(tmp_path), "--out", str(tmp_path / "b")])
    assert isinstance(result.exception, ConfigError)
    assert "a graph encoder takes no IMAGES" in str(result.exception)
    result = runner.invoke(app, ["embed", str(run), "--out", str(tmp_path / "b"), "--series", "1.2"])
    assert isinstance(result.exception, ConfigError)
    assert "--series: has no effect on a graph" in str(result.exception)


def test_an_image_encoder_needs_images(tmp_path):
    (tmp_path / "encoder.json").write_text('{"encoder": {}, "spec": {"spatial_dims": 2}, "facts": {}}')
    result = CliRunner().invoke(app, ["embed", str(tmp_path), "--out", str(tmp_path / "b")])
    assert "an image encoder needs IMAGES" in str(result.exception)
