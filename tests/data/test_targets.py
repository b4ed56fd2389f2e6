"""Classes and numbers of volumes come from tables and label files, and every bad value is named before training."""

import numpy as np
import pytest
from reference.nifti_files import rotation, write

from medgraph.data.cases import Case
from medgraph.data.manifest import ManifestSource
from medgraph.data.targeted import TargetedVolumeData
from medgraph.data.targets import ColumnTarget, LabelVolumeTarget
from medgraph.errors import DataError


def cases_of(tmp_path):
    return [Case(f"c{i}", f"s{i // 2}", tmp_path / f"images/c{i}.nii.gz", None) for i in range(4)]


def table(tmp_path, text):
    (tmp_path / "t.csv").write_text(text)
    return str(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("case,age\nc3,9\nc0,1.5\nc1,2\nc2,4\n", [1.5, 2, 4, 9]),
        ("subject,age\ns0,1\ns1,7\n", [1, 1, 7, 7]),
        ("image,label,age\nc0.nii.gz,x,1\nimages/c1.nii.gz,x,2\nc2.nii.gz,x,3\nc3.nii.gz,x,4\n", [1, 2, 3, 4]),
        ("subject,case,age\ns,c0,1\ns,c1,2\ns,c2,3\ns,c3,4\n", [1, 2, 3, 4]),
    ],
)
def test_a_column_gives_a_number_to_each_case(tmp_path, text, expected):
    target = ColumnTarget(table(tmp_path, text), "age", unit="years")
    assert target.values(cases_of(tmp_path)).tolist() == expected
    assert (target.name, target.classes) == ("age, years", ())


def test_files_called_alike_are_told_apart_by_their_folders(tmp_path):
    path = table(tmp_path, "subject_id,image,age\na,s1/T1.nii.gz,1\nb,s2/T1.nii.gz,2\n")
    cases = [Case(f"s{i}/T1", f"s{i}", tmp_path / f"s{i}/T1.nii.gz", None) for i in (2, 1)]
    assert ColumnTarget(path, "age").values(cases).tolist() == [2, 1]
    with pytest.raises(DataError, match="has no line for the image 'T1'"):
        ColumnTarget(path, "age").values([Case("x", "x", tmp_path / "elsewhere/T1.nii.gz", None)])


def test_a_manifest_gives_volumes_and_their_classes(tmp_path):
    lines = ["subject,image,split,diagnosis"]
    for i in range(4):
        write(tmp_path / f"s{i}/T1.nii.gz", np.random.default_rng(i).normal(size=(6, 7, 8)).astype(np.float32))
        lines.append(f"s{i},s{i}/T1.nii.gz,{'train' if i < 2 else 'test'},{'ill' if i % 2 else 'well'}")
    path = table(tmp_path, "\n".join(lines))
    with pytest.raises(DataError, match="or name others in other_columns"):
        ManifestSource(path).cases  # noqa: B018
    source = ManifestSource(path, other_columns=("diagnosis",))
    data = TargetedVolumeData(source, ColumnTarget(path, "diagnosis", ("well", "ill")), seed=0, size=(6, 7, 8))
    assert data.spec.classes == ("well", "ill")
    assert data.train().labels.tolist() == data.test().labels.tolist() == [0, 1]


def test_words_are_classes_in_the_order_declared(tmp_path):
    target = ColumnTarget(table(tmp_path, "case,kind\nc0,ill\nc1,well\nc2,ill\nc3,ill\n"), "kind", ("well", "ill"))
    assert target.values(cases_of(tmp_path)).tolist() == [1, 0, 1, 1]
    assert target.values(cases_of(tmp_path)).dtype == np.int64
    assert target.name == "kind"


@pytest.mark.parametrize(
    ("text", "classes", "message"),
    [
        ("case,age\nc0,1\nc1,2\nc2,3\n", (), "has no line for the case 'c3', expected one for each"),
        ("case,age\nc0,1\nc1,two\nc2,3\nc3,4\n", (), "line 3: age is 'two', expected a finite number. Classes?"),
        ("case,age\nc0,1\nc1,nan\nc2,3\nc3,4\n", (), "line 3: age is 'nan', expected a finite number"),
        (
            "case,age\nc0,1\nc1,5\nc2,1\nc3,1\n",
            ("1", "2"),
            "line 3: age is '5', expected one of the declared classes 1",
        ),
        ("subject,age\ns0,1\ns1,2\ns0,3\n", (), "line 4: subject 's0' has another age than before"),
        ("case,weight\nc0,1\n", (), "has the columns case, weight, expected age and one of case, subject, image"),
        ("age\n1\n", (), "has the columns age, expected age and one of case"),
        ("age,case\n1\n2,c0\n", (), "line 2: has 1 cells, expected 2 for the columns age, case"),
        ("", (), "has the columns none, expected age and one of case"),
    ],
)
def test_bad_tables_are_named_by_line(tmp_path, text, classes, message):
    with pytest.raises(DataError, match=message):
        ColumnTarget(table(tmp_path, text), "age", classes).check(cases_of(tmp_path))


def test_a_table_of_excel_is_read_in_utf_8_alone(tmp_path):
    path = tmp_path / "t.csv"
    text = "case,Größe\n" + "".join(f"c{i},{i}\n" for i in range(4))
    path.write_text(text, encoding="utf-8-sig")
    assert ColumnTarget(str(path), "Größe").values(cases_of(tmp_path)).tolist() == [0, 1, 2, 3]
    path.write_text(text, encoding="latin-1")
    with pytest.raises(DataError, match=r"t.csv, line 1: holds the byte 0xf6, expected text in UTF-8"):
        ColumnTarget(str(path), "Größe").check(cases_of(tmp_path))


def test_no_table_and_one_class_are_refused(tmp_path):
    with pytest.raises(DataError, match="no such file, expected a CSV table with the column 'age'"):
        ColumnTarget(str(tmp_path / "none.csv"), "age").check(cases_of(tmp_path))
    with pytest.raises(ValueError, match="classes: expected two or more different words"):
        ColumnTarget("t.csv", "age", ("a",))


def test_the_volume_of_a_structure_is_counted_on_its_own_grid(tmp_path):
    labels = np.zeros((6, 7, 8), np.uint8)
    labels[1:3, 1:4, 1:5] = 1
    labels[4, 4, 4] = 7
    image = write(tmp_path / "a.nii.gz", np.ones((6, 7, 8), np.float32), rotation(25))  # voxels of 2 cubic millimetres
    case = Case("a", "a", image, write(tmp_path / "b.nii.gz", labels, rotation(25)))
    assert LabelVolumeTarget().values([case]) == pytest.approx(25 * 2 / 1000)
    assert LabelVolumeTarget((1,)).values([case]) == pytest.approx(24 * 2 / 1000)
    assert LabelVolumeTarget((1, 7)).values([case]) == pytest.approx(25 * 2 / 1000)
    with pytest.raises(DataError, match="image without label, expected a label file whose volume is the target"):
        LabelVolumeTarget().check([Case("a", "a", image, None)])
