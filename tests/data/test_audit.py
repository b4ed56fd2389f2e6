import numpy as np
import pytest
from reference.graphs import random_graph

from medgraph.data import audit
from medgraph.data.saved_graph import save_graph
from medgraph.errors import DataError


def test_a_saved_graph_is_recognized(tmp_path):
    save_graph(random_graph(), tmp_path / "g.npz")
    lines = audit.lines(audit.recognize(tmp_path / "g.npz"))
    assert lines[0] == f"SavedGraph(path='{tmp_path}/g.npz')"
    assert any(line.startswith("path   pap") for line in lines)


def test_folders_are_recognized_by_what_lies_in_them(tmp_path, labelled_folder):
    np.savetxt(tmp_path / "pa.txt", [[0, 0]], fmt="%d")
    assert repr(audit.recognize(tmp_path)) == f"HeCoGraph(root='{tmp_path}')"
    source = audit.recognize(labelled_folder)
    assert source.labels == "labels/*.nii*"
    assert audit.lines(source)[0].startswith("FolderSource(")
    assert audit.recognize(labelled_folder / "images").labels is None
    (labelled_folder / "dataset.json").write_text("{}")
    assert repr(audit.recognize(labelled_folder)).startswith("DecathlonSource(")


def test_what_is_no_data_is_refused(tmp_path):
    with pytest.raises(
        DataError, match=r"neither a graph .* nor volumes .* Tables of your own are described in a pipeline"
    ):
        audit.recognize(tmp_path)
    with pytest.raises(DataError, match="'text': has neither a graph nor volumes to describe"):
        audit.lines("text")
