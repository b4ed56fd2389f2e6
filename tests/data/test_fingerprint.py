"""The hash of data follows the contents of their files, and nothing else."""

import shutil
from types import SimpleNamespace

import numpy as np
import scipy.sparse as sp
from PIL import Image

from medgraph.data.fingerprint import fingerprint, identity
from medgraph.data.folder import FolderSource
from medgraph.data.graphs import make_graph
from medgraph.data.idf_features import IdfFeatures
from medgraph.data.images import ImageFolderData
from medgraph.data.labelled_images import LabelledImageData
from medgraph.data.labelled_slices import LabelledSliceData
from medgraph.data.mixed import MixedData
from medgraph.data.slices import SliceData
from medgraph.data.tables import TablesGraph
from medgraph.data.two_folders import TwoFoldersSource


def test_contents_count_and_places_do_not(labelled_folder):
    images = FolderSource(str(labelled_folder), "images/*.nii.gz")
    labels = FolderSource(str(labelled_folder), "images/*.nii.gz", "labels/*.nii.gz", ("a", "b", "c"))
    first = fingerprint(SliceData(images))
    assert first["num_files"] == 6
    assert fingerprint(SliceData(labels))["num_files"] == 12
    moved = labelled_folder / "images" / "sub5.nii.gz"
    moved.rename(labelled_folder / "images" / "other.nii.gz")
    assert fingerprint(SliceData(FolderSource(str(labelled_folder), "images/*.nii.gz"))) == first
    (labelled_folder / "images" / "other.nii.gz").write_bytes(b"another")
    assert fingerprint(SliceData(FolderSource(str(labelled_folder), "images/*.nii.gz"))) != first


def test_mixtures_and_groups_count_all_their_files(tmp_path, labelled_folder):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.full((4, 4), len(folder), np.uint8)).save(tmp_path / folder / "x.png")
    images = ImageFolderData(str(tmp_path / "a"), labels=None)
    slices = SliceData(FolderSource(str(labelled_folder), "images/*.nii.gz"))
    assert fingerprint(MixedData([images, slices]))["num_files"] == 7
    groups = SimpleNamespace(
        source=TwoFoldersSource(str(tmp_path / "a"), str(tmp_path / "b"), fractions=(1.0, 0.0, 0.0))
    )
    assert fingerprint(groups)["num_files"] == 2


def test_tables_of_a_graph_are_its_files(tmp_path):
    (tmp_path / "a.csv").write_text("id,x\n1,2\n2,3\n")
    (tmp_path / "e.csv").write_text("s,d\n1,2\n")
    nodes = {"a": {"file": "a.csv", "key": "id", "numeric": "x"}}
    edges = [{"file": "e.csv", "source": "a", "destination": "a", "source_key": "s", "destination_key": "d"}]
    tables = TablesGraph(str(tmp_path), "a", nodes, edges)
    for data in (SimpleNamespace(source=tables), SimpleNamespace(source=IdfFeatures(tables))):
        assert fingerprint(data)["num_files"] == 2
    before = fingerprint(SimpleNamespace(graph_data=SimpleNamespace(source=tables)))
    (tmp_path / "e.csv").write_text("s,d\n2,1\n")
    assert fingerprint(SimpleNamespace(source=tables)) != before


def test_data_that_name_no_files_have_none():
    assert fingerprint(SimpleNamespace(source=SimpleNamespace())) is None


def test_a_case_more_is_another_identity_and_another_place_or_label_count_is_not(tmp_path, labelled_folder):
    def found(folder, num_labelled=None):
        source = FolderSource(str(folder), "images/*.nii.gz", "labels/*.nii.gz", ("a", "b", "c"))
        return identity(LabelledSliceData(source, seed=0, num_labelled=num_labelled))

    first = found(labelled_folder)
    assert first["count"] == 6
    assert found(labelled_folder, num_labelled=1) == first
    moved = shutil.copytree(labelled_folder, tmp_path / "moved")
    assert found(moved) == first
    for kind in ("images", "labels"):
        shutil.copy(moved / kind / "sub5.nii.gz", moved / kind / "sub9.nii.gz")
    assert found(moved)["count"] == 7
    assert found(moved) != first
    for kind in ("images", "labels"):
        (moved / kind / "sub9.nii.gz").unlink()
    assert found(moved) == first
    (moved / "labels" / "sub5.nii.gz").write_bytes(b"another")
    assert found(moved) != first


def test_images_masks_groups_arrays_and_graphs_have_an_identity(tmp_path, labelled_folder):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        for name in "xyz":
            Image.fromarray(np.eye(4, dtype=np.uint8)).save(tmp_path / folder / f"{name}.png")
    images = LabelledImageData(str(tmp_path), ("a", "b"), seed=0, index=None)
    assert identity(images)["count"] == 3
    slices = SliceData(FolderSource(str(labelled_folder), "images/*.nii.gz"))
    plain = ImageFolderData(str(tmp_path / "images"), labels=None)
    assert identity(MixedData([plain, slices]))["count"] == 9
    groups = SimpleNamespace(source=TwoFoldersSource(str(tmp_path / "images"), str(tmp_path / "masks")))
    assert identity(groups)["count"] == 6
    np.savez(tmp_path / "a.npz", x=np.zeros(3))
    assert identity(SimpleNamespace(path=str(tmp_path / "a.npz")))["count"] == 1
    assert identity(graph_data([[0, 1, 2, 3], [0, 1, 1, 2]]))["count"] == 4
    assert identity(SimpleNamespace(source=SimpleNamespace())) is None


def test_another_edge_or_feature_is_another_identity_of_a_graph_and_another_order_is_not():
    first = identity(graph_data([[0, 1, 2, 3], [0, 1, 1, 2]]))
    assert identity(graph_data([[3, 1, 2, 0], [2, 1, 1, 0]])) == first
    assert identity(SimpleNamespace(graph_data=graph_data([[0, 1, 2, 3], [0, 1, 1, 2]]))) == first
    assert identity(graph_data([[0, 1, 2, 3], [0, 1, 2, 1]])) != first
    assert identity(graph_data([[0, 1, 2, 3, 3], [0, 1, 1, 2, 0]])) != first
    assert identity(graph_data([[0, 1, 2, 3], [0, 1, 1, 2]], value=2.0)) != first
    sparse = identity(graph_data([[0, 1, 2, 3], [0, 1, 1, 2]], as_sparse=True))
    assert sparse["count"] == 4
    assert identity(graph_data([[0, 1, 2, 3], [0, 1, 1, 2]], value=2.0, as_sparse=True)) != sparse


def graph_data(edges, value=1.0, as_sparse=False):
    """Data on a graph of 4 papers and 3 authors."""
    features = np.eye(4, dtype=np.float32)
    features[0, 1] = value
    graph = make_graph(
        "paper",
        {"paper": 4, "author": 3},
        {("paper", "by", "author"): np.array(edges)},
        {"paper": sp.csr_matrix(features) if as_sparse else features},
        normalize=False,
    )
    return SimpleNamespace(source=SimpleNamespace(structure=graph))
