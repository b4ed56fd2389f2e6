"""The card of an encoder says where it comes from, what it scored, and whom to cite."""

import json
from dataclasses import asdict

import pytest

from medgraph import config
from medgraph.data.spec import GraphSpec, ImageSpec
from medgraph.evaluation.scores import Scores
from medgraph.runner.card import card, write_cards
from medgraph.runner.export import export_encoder
from medgraph.runner.folder import RunFolder

NODE = {"name": "resnet", "depth": 18, "width": 4, "stem": "small"}
METHOD = {"name": "intra", "encoder": NODE, "assigner": {"name": "swav"}, "loss": {"name": "prototype_cross_entropy"}}
SPEC = ImageSpec(2, 1, (16, 16), 10)
FACTS = {"stage": "pretrain", "pipeline": "tiny", "method": METHOD, "data": {"name": "slices", "axis": 1}, "seed": 3}
FACTS |= {"fingerprint": {"num_files": 7, "sha256": "abc123"}}


def test_it_holds_what_a_stranger_asks_for(tmp_path):
    export_encoder(tmp_path, config.build(NODE, "encoders", spec=SPEC), NODE, SPEC, FACTS)
    text = card(json.loads((tmp_path / "encoder.json").read_text()), ["- verdict: Dice 0.8"])
    heads = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert heads == ["Data", "Method", "Settings", "Metrics", "Limits", "Citations", "Licence"]
    assert "Files of all splits: 7, sha256 `abc123`" in text
    assert "10 training examples in 2D, 1 x 16 x 16" in text
    assert '"axis": 1' in text
    assert "- verdict: Dice 0.8" in text
    assert "- He et al., 2016, arXiv:1512.03385" in text.partition("## Citations")[2]
    assert "Caron et al." in text.partition("## Citations")[2]


def test_a_number_in_a_sentence_is_no_citation():
    """`ms1d` is explained as "Deformable-DETR's form [1] reduced to 1D": only what follows its `[1]` below is cited."""
    attention = {"name": "ms1d", "num_heads": 4, "num_levels": 2, "num_points": 4}
    encoder = {"name": "volume", "slice_encoder": NODE, "attention": attention, "dim": 32, "num_layers": 1}
    cited = card({"encoder": encoder, "medgraph": "0", "facts": FACTS, "spec": asdict(SPEC)}, []).partition(
        "## Citations"
    )[2]
    assert "- Zhu et al., 2021, arXiv:2010.04159, Eq. 3." in cited
    assert "reduced to 1D" not in cited


@pytest.mark.parametrize(
    ("licences", "short", "words"),
    [
        (["CC-BY-SA 4.0"], "cc-by-sa-4.0", "- Data: CC-BY-SA 4.0"),
        (["CC BY 3.0 (LICENSE.md beside the data)"], "cc-by-3.0", "- Data: CC BY 3.0 (LICENSE.md"),
        (["CC0 1.0"], "cc0-1.0", "- Data: CC0 1.0"),
        (["data use agreement of our clinic"], "other", "- Data: data use agreement of our clinic"),
        (["CC BY 4.0", "CC0"], "other", "- Data: CC BY 4.0\n- Data: CC0\n- Weights: derived"),
        ([], "other", "- Data: not recorded."),
        (None, "other", "- Data: not recorded."),
    ],
)
def test_the_licence_of_the_data_is_told_or_that_it_is_not_known(licences, short, words):
    facts = {"medgraph": "0", "encoder": NODE, "spec": vars(SPEC), "facts": {**FACTS, "licences": licences}}
    text = card(facts, [])
    assert text.startswith(f"---\nlicense: {short}\n")
    assert words in text.partition("## Licence")[2]
    assert "Apache-2.0" in text


def test_a_graph_and_unknown_data_are_described_too():
    spec = GraphSpec("paper", {"paper": 4, "author": 3}, {"paper": 2, "author": 2}, 3, ())
    facts = {"medgraph": "0", "encoder": NODE, "spec": vars(spec), "facts": {}}
    text = card(facts, [])
    assert "7 nodes, of which paper are embedded" in text
    assert "- Hash: none" in text
    assert "None were measured" in text


def test_the_card_of_a_graph_encoder_says_how_nodes_are_embedded():
    spec = GraphSpec("paper", {"paper": 4, "author": 3}, {"paper": 2, "author": 2}, 3, ())
    walks = {"name": "factorized_walks", "source": {"name": "tables", "root": "data"}}
    data = {"name": "labelled_nodes", "graph_data": {"name": "metapath_views", "source": walks}}
    facts = {"medgraph": "0", "encoder": NODE, "spec": vars(spec), "facts": {"data": data, "graph": {"sha256": "abc"}}}
    text = card(facts, [])
    assert "tags: [graph, heterogeneous-graph, self-supervised" in text
    assert "medgraph embed THIS_FOLDER --out features/ --data graph_data.source.source.root=DIR" in text
    assert "Nodes, features and edges: sha256 `abc`" in text
    assert "Hash: none" not in text
    assert not any(word in text for word in ("image", "scanners", "preprocess"))
    facts["facts"]["data"] = {"name": "joined_views", "data": [data["graph_data"]], "num_networks": [1]}
    assert "--data source.source.root=DIR" in card(facts, [])
    facts["facts"]["data"] = {"name": "metapath_views", "source": {"name": "planted_graph"}}
    assert "```bash\nmedgraph embed THIS_FOLDER --out features/\n```" in card(facts, [])


def test_the_scores_of_a_stage_and_the_verdict_on_it_are_on_the_card(tmp_path, stage):
    pipeline = config.load(tmp_path / "tiny.yaml")
    folder = RunFolder(tmp_path / "run")
    export_encoder(folder.encoder("fine"), config.build(NODE, "encoders", spec=SPEC), NODE, SPEC, FACTS)
    Scores([{"case": "a", "label": "front", "dice": 0.5}]).to_json(folder.stage("fine") / "scores.json")
    later = type(stage)(**{**vars(stage), "name": "verdict", "kind": "compare", "start_from": "fine"})
    row = {
        "num_labelled": 4,
        "label": "mean",
        "metric": "dice",
        "arms": ["pretrained", "from scratch"],
        "first": 0.8,
        "second": 0.7,
        "over": "cases",
    }
    row["difference"] = {"mean": 0.1, "low": 0.05, "high": 0.15, "n": 16}
    few = {**row, "over": "seeds", "difference": {"mean": 0.1, "low": None, "high": None, "n": 1}}
    folder.stage("verdict").mkdir()
    (folder.stage("verdict") / "table.json").write_text(json.dumps([row, few]))
    pipeline.stages["verdict"] = later
    write_cards(pipeline, folder)
    text = (folder.encoder("fine") / "README.md").read_text()
    assert "- fine: front dice 0.5000" in text
    assert (
        "4 labelled, mean, Dice: 0.8000 pretrained, 0.7000 from scratch; difference +0.1000 (+0.0500 to +0.1500" in text
    )
    assert "difference +0.1000 (no interval, 1 seeds)" in text
