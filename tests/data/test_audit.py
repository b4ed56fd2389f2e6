from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from reference.dicom_files import write_series
from reference.graphs import random_graph
from reference.nifti_files import rotation

from medgraph.data import audit
from medgraph.data.saved_graph import save_graph
from medgraph.data.spec import ImageSpec
from medgraph.data.two_folders import TwoFoldersSource
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
        DataError, match=r"neither a graph .* nor volumes or images .* Tables of your own are described in a pipeline"
    ):
        audit.recognize(tmp_path)
    with pytest.raises(DataError, match="'text': has neither a graph nor volumes or images to describe"):
        audit.lines("text")


def test_images_are_described_with_their_sizes_classes_and_equal_files(tmp_path):
    (tmp_path / "images").mkdir()
    for number, side in enumerate((20, 20, 30)):
        Image.fromarray(np.full((side, 24), 7, np.uint8)).save(tmp_path / "images" / f"{number}.png")
    lines = audit.lines(audit.recognize(tmp_path))
    assert lines[0] == f"ImageFolderData(root='{tmp_path}/images')"
    assert lines[1] == "part   train          3 images of 3 subjects, 0 with labels"
    assert "grid   shape 20 x 24 to 30 x 24 (height x width), 2 different" in lines
    assert lines[-2:] == ["same   0.png = 1.png", "leak   no image lies in two parts"]
    rows = "file,split,label,class\nimages/0.png,train,0,a\nimages/1.png,test,1,b\nimages/2.png,val,0,a\n"
    (tmp_path / "labels.csv").write_text(rows)
    lines = audit.lines(audit.recognize(tmp_path))
    assert lines[1] == "part   train          1 images of 1 subjects, 1 with labels"
    assert "labels a, b" in lines
    assert lines[-1] == "leak   1 images lie in two parts"


@pytest.mark.parametrize("inner", ["", "study"])
def test_dicom_series_are_described(tmp_path, inner):
    write_series(tmp_path / inner / "a", np.arange(60, dtype=np.int16).reshape(3, 4, 5), rotation(0))
    lines = audit.lines(audit.recognize(tmp_path / inner))
    assert lines[1] == "part   train          1 volumes of 1 subjects, 0 with labels"
    assert any(line.startswith("grid   shape ") for line in lines)
    assert audit.lines(audit.recognize(tmp_path / inner / "a"))[1:] == lines[1:]


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_volumes_are_described_without_a_split(labelled_folder, count):
    for file in sorted(labelled_folder.rglob("*.nii.gz")):
        if int(file.name[3]) >= count:
            file.unlink()
    lines = audit.lines(audit.recognize(labelled_folder))
    assert lines[1] == f"part   train      {count:>5} volumes of {count} subjects, {count} with labels"


def test_groups_and_made_examples_are_described(tmp_path):
    for folder, count in (("a", 4), ("b", 5)):
        (tmp_path / folder).mkdir()
        for number in range(count):
            pixels = np.full((8, 8), 20 * number + count, np.uint8)
            Image.fromarray(pixels).save(tmp_path / folder / f"{number}.png")
    groups = TwoFoldersSource(str(tmp_path / "a"), str(tmp_path / "b"), fractions=(0.5, 0.0, 0.5))
    lines = audit.lines(groups)
    assert "groups 4 background, 5 target" in lines
    assert "grid   shape 8 x 8 to 8 x 8 (height x width), 1 different" in lines
    made = SimpleNamespace(spec=ImageSpec(2, 1, (28, 28), 100, attributes=("digit",)))
    assert audit.lines(made)[1:] == [
        "part   train        100 examples of 1 x 28 x 28",
        "labels no classes named",
        "known  digit",
    ]
