import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from medgraph import config
from medgraph.data.tables import TablesGraph
from medgraph.errors import ConfigError, DataError

PATIENTS = """id,age,sex,stage,fold
007,40,f,early,train
8,50,m,late,train
9,60,f,early,val
10,70,m,late,test
11,80,,,
"""
VISITS = "id,drug\n007,aspirin\n007,insulin\n8,insulin\n9,aspirin\n10,insulin\n11,aspirin\n"


@pytest.fixture
def root(tmp_path):
    (tmp_path / "patients.csv").write_text(PATIENTS)
    (tmp_path / "visits.csv").write_text(VISITS)
    pq.write_table(pa.table({"name": ["insulin", "aspirin"], "dose": [1.0, 3.0]}), tmp_path / "drugs.parquet")
    np.save(tmp_path / "drugs.npy", np.array([[1.0, 2, 3], [4, 5, 6], [7, 8, 9]], dtype=np.float32))
    pq.write_table(pa.table({"id": ["other", "aspirin", "insulin"]}), tmp_path / "drug_ids.parquet")
    return tmp_path


def described(root, patients=None, drugs=None, edge=None, **arguments):
    patient = {"file": "patients.csv", "key": "id", "numeric": ["age"], "categorical": "sex", "label": "stage"}
    nodes = {
        "patient": {**patient, "split": "fold", **(patients or {})},
        "drug": {"file": "drugs.parquet", "key": "name", "numeric": ["dose"]} if drugs is None else drugs,
    }
    edges = [{"file": "visits.csv", "source": "patient", "relation": "takes", "destination": "drug"}]
    edges[0] |= {"destination_key": "drug"} | (edge or {})
    return TablesGraph(str(root), "patient", nodes, edges, **arguments)


@pytest.mark.filterwarnings("ignore:.*no node of class")
def test_tables_become_a_graph(root):
    graph = described(root).graph
    assert graph.spec.node_counts == {"patient": 5, "drug": 2}
    assert graph.spec.edge_types == (("patient", "takes", "drug"), ("drug", "rev_takes", "patient"))
    assert graph.data["patient", "takes", "drug"].edge_index.tolist() == [[0, 0, 1, 2, 3, 4], [1, 0, 0, 1, 0, 1]]
    expected = [[-(2**0.5), 1, 0], [-(0.5**0.5), 0, 1], [0, 1, 0], [0.5**0.5, 0, 1], [2**0.5, 0, 0]]
    torch.testing.assert_close(graph.data["patient"].x, torch.tensor(expected))
    assert graph.data["drug"].x.tolist() == [[-1], [1]]
    assert (graph.classes, graph.labels.tolist()) == (("early", "late"), [0, 1, 0, 1, -1])
    assert {part: index.tolist() for part, index in graph.splits["fold"].items()} == {
        "train": [0, 1],
        "val": [2],
        "test": [3],
    }
    assert list(graph.metapaths) == ["pdp"]
    assert {name: keys.tolist() for name, keys in graph.keys.items()} == {"id": ["007", "8", "9", "10", "11"]}


@pytest.mark.filterwarnings("ignore:.*(no node of class|left out)")
def test_exported_embeddings_are_features(root):
    drugs = {"file": "drugs.parquet", "key": "name", "embeddings": "drugs.npy", "embedding_ids": "drug_ids.parquet"}
    graph = described(root, drugs=drugs).graph
    assert graph.data["drug"].x.tolist() == [[7, 8, 9], [4, 5, 6]]
    assert graph.notes[0] == f"{root}/drugs.npy: 1 of 3 rows belong to no node; left out."


@pytest.mark.filterwarnings("ignore:.*no node of class")
def test_embeddings_without_ids_are_in_the_order_of_the_table(root):
    np.save(root / "plain.npy", np.arange(4.0).reshape(2, 2))
    drugs = {"file": "drugs.parquet", "key": "name", "numeric": "dose", "embeddings": ["plain.npy"]}
    assert described(root, drugs=drugs).graph.data["drug"].x.tolist() == [[-1, 0, 1], [1, 2, 3]]


@pytest.mark.filterwarnings("ignore:.*no node of class")
def test_a_type_without_table_has_the_nodes_of_its_edges(root):
    graph = described(root, drugs={}).graph
    assert graph.spec.node_counts["drug"] == 2
    assert graph.spec.feature_dims["drug"] == 0
    assert graph.data["patient", "takes", "drug"].edge_index[1].tolist() == [0, 1, 1, 0, 1, 0]  # aspirin, insulin


@pytest.mark.filterwarnings("ignore:.*no node of class")
def test_splits_from_files(root):
    np.save(root / "train.npy", np.array([1, 0]))
    (root / "test.csv").write_text("id\n10\n9\n")
    graph = described(root, splits={"mine": {"train": "train.npy", "test": "test.csv"}}).graph
    assert {part: index.tolist() for part, index in graph.splits["mine"].items()} == {"train": [1, 0], "test": [3, 2]}
    (root / "train.npy").unlink()
    with pytest.raises(DataError, match=r"train.npy: expected row numbers of the patient table"):
        described(root, splits={"mine": {"train": "train.npy"}}).read()


@pytest.mark.filterwarnings("ignore:.*no node of class")
def test_missing_numbers_become_the_mean_and_it_is_said(root):
    (root / "patients.csv").write_text(PATIENTS.replace("70,m", ",m"))
    with pytest.warns(UserWarning, match="column 'age': 1 of 5 values are missing; set to the mean"):
        graph = described(root).graph
    assert graph.data["patient"].x[3, 0] == 0


@pytest.mark.filterwarnings("ignore:.*(no node of class|mapped)")
def test_numbers_as_labels_with_gaps(root):
    (root / "patients.csv").write_text(PATIENTS.replace("early", "2").replace("late", "5"))
    graph = described(root).graph
    assert (graph.classes, graph.labels.tolist()) == (("2", "5"), [0, 1, 0, 1, -1])


def test_wide_categories_stay_sparse(tmp_path):
    rows = "".join(f"{i},c{i % 150}\n" for i in range(300))
    (tmp_path / "n.csv").write_text("id,kind\n" + rows)
    (tmp_path / "e.csv").write_text("a,b\n1,2\n")
    nodes = {"node": {"file": "n.csv", "key": "id", "categorical": "kind"}}
    edges = [{"file": "e.csv", "source": "node", "destination": "node", "source_key": "a", "destination_key": "b"}]
    x = TablesGraph(str(tmp_path), "node", nodes, edges).graph.data["node"].x
    assert (x.layout, x.shape) == (torch.sparse_csr, (300, 150))
    assert x.to_dense().sum(dim=1).tolist() == [1] * 300


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patients": {"key": "ids"}}, "patients.csv: no column is called 'ids'; did you mean 'id'?"),
        ({"patients": {"label": "xyz"}}, "no column is called 'xyz'. Columns: id, age, sex, stage, fold"),
        ({"patients": {"file": "none.csv"}}, "none.csv: no such file, expected a table with the columns id, age"),
        ({"patients": {"file": "drugs.npy"}}, "drugs.npy: expected a .csv, .tsv or .parquet file"),
        ({"patients": {"numeric": ["sex"]}}, "column 'sex': holds string, expected numbers. Is it categorical?"),
        ({"patients": {"split": "sex"}}, "column 'sex' says 'f', expected train, val, validation, test or nothing"),
        ({"edge": {"source_key": "drug"}}, "visits.csv, source, row 0: 'aspirin' is not a key of patient .6 such rows"),
        ({"patients": {"embeddings": "no.npy"}}, "no.npy: no such file, expected the embeddings"),
        ({"patients": {"embeddings": "drugs.npy"}}, "drugs.npy: 3 rows for 5 nodes; name an embedding_ids file"),
        ({"patients": {"embeddings": "bad.npy"}}, r"bad.npy: has shape .2,., expected .nodes, width."),
        ({"patients": {"embeddings": "pickle.npy"}}, "pickle.npy: expected an array of numbers, never a pickle"),
        ({"patients": {"embeddings": "bad2.npy", "embedding_ids": "drug_ids.parquet"}}, "3 ids for the 2 rows of bad2"),
    ],
)
def test_what_is_wrong_with_a_table_is_named(root, change, message):
    np.save(root / "bad.npy", np.zeros(2))
    np.save(root / "bad2.npy", np.zeros((2, 2)))
    np.save(root / "pickle.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(DataError, match=message):
        described(root, **change).read()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\n8,", "\n007,", "column 'id': key '007' comes more than once"),
        ("\n8,", "\n,", "column 'id', row 1: empty key"),
        ("40", "x", "column 'age': holds string, expected numbers"),
        ("8,50,m,late,train", "8,50", "patients.csv, line 3: has 2 cells, expected 5 for the columns id, age, sex"),
        ("8,50,m,late,train", "8,50,m,late,train,", "patients.csv: not a readable table: .* Expected 5 columns, got 6"),
    ],
)
def test_broken_rows(root, old, new, message):
    (root / "patients.csv").write_text(PATIENTS.replace(old, new))
    with pytest.raises(DataError, match=message):
        described(root).read()


@pytest.mark.parametrize("cells", ["f,früh,train", "ä,late,train"])
def test_a_table_of_excel_is_read_in_utf_8_alone(root, cells):
    text = PATIENTS.replace("f,early,train", cells)
    (root / "patients.csv").write_text(text, encoding="utf-8-sig")
    with pytest.warns(UserWarning, match="no node of class"):
        assert described(root).graph.num_targets == 5
    (root / "patients.csv").write_text(text, encoding="latin-1")
    with pytest.raises(DataError, match=r"patients.csv, line 2: holds the byte 0x(fc|e4), expected text in UTF-8"):
        described(root).read()
    (root / "patients.csv").write_text(PATIENTS.replace("sex", "Größe"), encoding="latin-1")
    with pytest.raises(DataError, match=r"patients.csv, line 1: holds the byte 0xf6, expected text in UTF-8"):
        described(root).read()


def test_damaged_parquet_is_named(root):
    rows = [str(number) for number in range(2000)]
    pq.write_table(pa.table({"name": rows, "dose": [float(row) for row in rows]}), root / "drugs.parquet")
    whole = (root / "drugs.parquet").read_bytes()
    for raw in (b"", b"name,dose\n", whole[:-50], whole[:4] + bytes(range(250)) * 8 + whole[2004:]):
        (root / "drugs.parquet").write_bytes(raw)
        with pytest.raises(DataError, match=r"drugs.parquet: not a readable table: .*Mend it, or write"):
            described(root).read()


def test_arrays_that_are_text_are_named(root):
    (root / "drugs.npy").write_text("1 2 3\n")
    drugs = {"file": "drugs.parquet", "key": "name", "embeddings": "drugs.npy", "embedding_ids": "drug_ids.parquet"}
    with pytest.raises(DataError, match=r"drugs.npy: expected an array of numbers, never a pickle: begins"):
        described(root, drugs=drugs).read()


def test_a_column_without_any_number(root):
    (root / "patients.csv").write_text("id,age,sex,stage,fold\n007,,f,a,train\n8,,m,b,val\n")
    (root / "visits.csv").write_text("id,drug\n8,insulin\n")
    with pytest.raises(DataError, match=r"column 'age': no value is a finite number"):
        described(root).read()


@pytest.mark.filterwarnings("ignore:.*(no node of class|left out)")
def test_nodes_without_embedding_get_zeros_and_it_is_said(root):
    np.save(root / "one.npy", np.array([[2.0]]))
    pq.write_table(pa.table({"name": ["aspirin"]}), root / "one.parquet")
    drugs = {"file": "drugs.parquet", "key": "name", "embeddings": "one.npy", "embedding_ids": "one.parquet"}
    with pytest.warns(UserWarning, match="1 of 2 nodes have no embedding; set to zeros"):
        assert described(root, drugs=drugs).graph.data["drug"].x.tolist() == [[0], [2]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patients": {"keyy": "id"}}, "nodes.patient.keyy: a table has no such key; did you mean 'key'"),
        ({"drugs": {"file": "drugs.parquet"}}, "nodes.drug: missing key 'key'"),
        ({"patients": {"label": ["a", "b"]}}, "nodes.patient.label: expected one name, got"),
        ({"edge": {"source": "patients"}}, "edges.0.source: 'patients' is not among nodes; did you mean 'patient'"),
        ({"edge": {"relatoin": "x"}}, "edges.0.relatoin: a table has no such key; did you mean 'relation'"),
        ({"patients": {"embeddings": ["a", "b"], "embedding_ids": "c"}}, "embedding_ids: expected one for each of"),
    ],
)
def test_wrong_descriptions(root, change, message):
    with pytest.raises(ConfigError, match=message):
        described(root, **change)


def test_a_target_type_that_is_not_described(root):
    with pytest.raises(ConfigError, match=r"target_type: 'x' is not among nodes. Known: y"):
        TablesGraph(str(root), "x", {"y": {}}, [])


def test_edges_of_a_type_without_table_need_its_key(root):
    edges = [{"file": "visits.csv", "source": "patient", "destination": "drug"}]
    nodes = {"patient": {"file": "patients.csv", "key": "id"}, "drug": {}}
    with pytest.raises(ConfigError, match=r"edges.0: missing key 'destination_key', as node type 'drug' has no table"):
        TablesGraph(str(root), "patient", nodes, edges).read()


@pytest.mark.filterwarnings("ignore:.*no node of class")
def test_the_description_can_stand_in_a_config(root):
    source = described(root)
    node = {"name": "tables", "root": str(root), "target_type": "patient", "nodes": source.nodes, "edges": source.edges}
    node |= {"splits": None, "metapaths": [[["patient", "takes", "drug"], ["drug", "rev_takes", "patient"]]]}
    built = config.build({**node, "normalize": False}, "sources")
    assert built.graph.spec == source.graph.spec


@pytest.mark.filterwarnings("ignore:.*no node of class")
def test_columns_are_encoded_as_what_was_settled_says(root):
    source = described(root)
    node = {"name": "tables", "root": str(root), "target_type": "patient", "nodes": source.nodes, "edges": source.edges}
    kept = source.settled(node)
    assert kept["categories"] == {"patient": {"sex": ["f", "m"]}}
    assert kept["scales"] == {"patient": {"age": [60.0, 200**0.5]}, "drug": {"dose": [2.0, 1.0]}}
    assert torch.equal(config.build(kept, "sources").graph.data["patient"].x, source.graph.data["patient"].x)
    (root / "patients.csv").write_text(PATIENTS.replace(",f,", ",a,").replace("80", "100"))
    with pytest.warns(UserWarning, match="column 'sex': 2 of 5 values are of no known category, as 'a'; set to zeros"):
        changed = config.build(kept, "sources").graph.data["patient"].x
    assert changed[:, 1].tolist() == [0] * 5
    assert changed[:, 2].tolist() == [0, 1, 0, 1, 0]
    torch.testing.assert_close(changed[:4, 0], source.graph.data["patient"].x[:4, 0])
    assert changed[4, 0] == pytest.approx(40 / 200**0.5)


@pytest.mark.filterwarnings("ignore:.*no node of class")
def test_numbers_that_are_all_missing_become_the_mean_that_was_settled(root):
    (root / "patients.csv").write_text("id,age,sex,stage,fold\n007,,f,,\n8,,m,,\n9,,m,,\n10,,m,,\n11,,m,,\n")
    with pytest.raises(DataError, match="column 'age': no value is a finite number"):
        described(root).read()
    with pytest.warns(UserWarning, match="column 'age': 5 of 5 values are missing; set to the mean"):
        graph = described(root, scales={"patient": {"age": [60.0, 10.0]}}).graph
    assert graph.data["patient"].x[:, 0].tolist() == [0] * 5


@pytest.mark.filterwarnings("ignore:.*no node of class")
def test_who_needs_no_labels_gets_a_graph_without_them(root):
    (root / "patients.csv").write_text("id,age,sex\n007,40,f\n8,50,m\n9,60,f\n10,70,m\n11,80,\n")
    with pytest.raises(DataError, match="no column is called 'stage'"):
        described(root).read()
    bare = described(root, splits={"mine": {"train": "none.npy"}}).without_labels().graph
    assert (bare.labels, bare.splits, bare.num_targets) == (None, {}, 5)


@pytest.mark.filterwarnings("ignore:.*no node of class")
@pytest.mark.parametrize("word", ["NA", "nan", "null", "N/A"])
def test_spellings_of_nothing_are_missing_in_text_but_never_in_keys(root, word):
    lines = PATIENTS.replace("11,80,,,", f"{word},80,{word},{word},{word}")
    (root / "patients.csv").write_text(lines)
    (root / "visits.csv").write_text(VISITS.replace("11,", f"{word},"))
    with pytest.warns(UserWarning, match=f"1 values say {word!r} and count as missing"):
        graph = described(root).graph
    assert graph.keys["id"].tolist() == ["007", "8", "9", "10", word]
    assert (graph.classes, graph.labels.tolist()) == (("early", "late"), [0, 1, 0, 1, -1])
    assert graph.data["patient"].x[4, 1:].tolist() == [0, 0]
    assert sorted(node for part in graph.splits["fold"].values() for node in part.tolist()) == [0, 1, 2, 3]


@pytest.mark.filterwarnings("ignore:.*(no node of class|left out)")
@pytest.mark.parametrize("column", ["case", "whatever", "name", "id"])
def test_what_embed_wrote_for_images_pairs_with_nodes(root, column):
    features = pa.FixedSizeListArray.from_arrays(pa.array(range(9), pa.float32()), 3)
    written = pa.table({column: ["other", "aspirin", "insulin"], "slice": [0, 1, 2], "embedding": features})
    pq.write_table(written, root / "cases.parquet")
    drugs = {"file": "drugs.parquet", "key": "name", "embeddings": "drugs.npy", "embedding_ids": "cases.parquet"}
    assert described(root, drugs=drugs).graph.data["drug"].x.tolist() == [[7, 8, 9], [4, 5, 6]]


def test_ids_in_no_column_that_is_known_are_told(root):
    (root / "ids.csv").write_text("one,two\na,b\n")
    drugs = {"file": "drugs.parquet", "key": "name", "embeddings": "drugs.npy", "embedding_ids": "ids.csv"}
    with pytest.raises(DataError, match=r"ids.csv: no column is called 'name', 'id' or 'case', and 2 hold text"):
        described(root, drugs=drugs).read()
    with pytest.raises(DataError, match=r"none.csv: no such file"):
        described(root, drugs={**drugs, "embedding_ids": "none.csv"}).read()


def test_cells_set_apart_by_another_mark_are_told_before_columns(root):
    (root / "patients.csv").write_text(PATIENTS.replace(",", ";"))
    with pytest.raises(DataError, match=r"patients.csv, line 1: cells are set apart by ';', expected ','"):
        described(root).read()


@pytest.mark.filterwarnings("ignore:.*no node of class")
def test_an_index_that_pandas_keeps_in_its_notes_is_a_column(root):
    index = {"kind": "range", "name": "number", "start": 5, "stop": 7, "step": 1}  # as DataFrame.to_parquet writes it
    notes = {"pandas": json.dumps({"index_columns": [index], "columns": [{"name": "dose", "field_name": "dose"}]})}
    pq.write_table(pa.table({"dose": [1.0, 3.0]}).replace_schema_metadata(notes), root / "drugs.parquet")
    (root / "visits.csv").write_text("id,drug\n007,5\n8,6\n9,5\n10,6\n11,6\n")
    graph = described(root, drugs={"file": "drugs.parquet", "key": "number", "numeric": "dose"}).graph
    assert graph.data["patient", "takes", "drug"].edge_index.tolist() == [[0, 1, 2, 3, 4], [0, 1, 0, 1, 1]]
    pq.write_table(pa.table({"dose": [1.0]}).replace_schema_metadata(notes), root / "drugs.parquet")
    with pytest.raises(DataError, match=r"its index 'number' is kept as 2 numbers for 1 rows. Write the table again"):
        described(root, drugs={"file": "drugs.parquet", "key": "number"}).read()


@pytest.mark.filterwarnings("ignore:.*no node of class")
def test_validation_has_two_names_in_files_as_in_columns(root):
    np.save(root / "some.npy", np.array([1, 0]))
    np.save(root / "rest.npy", np.array([2]))
    graph = described(root, splits={"mine": {"train": "some.npy", "validation": "rest.npy"}}).graph
    assert {part: index.tolist() for part, index in graph.splits["mine"].items()} == {"train": [1, 0], "val": [2]}
    with pytest.raises(ConfigError, match=r"splits.mine: names validation twice"):
        described(root, splits={"mine": {"val": "a.npy", "validation": "b.npy"}})
