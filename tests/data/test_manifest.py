from collections import Counter

import pytest

from medgraph.data.manifest import ManifestSource
from medgraph.errors import DataError

SPLIT = (
    "subject,image,label,split\ns1,x/a.nii.gz,l/a.nii.gz,train\ns1,b.nii,,train\ns2,y/a.nii.gz,,val\ns3,c.nii,,test\n"
)


def manifest(folder, text):
    path = folder / "list.csv"
    path.write_text(text)
    return str(path)


def test_rows_become_cases(tmp_path):
    source = ManifestSource(manifest(tmp_path, SPLIT), classes=("background", "lesion"), frame=3)
    assert source.classes == ("background", "lesion")
    rows = [(case.id, case.subject, case.part, case.frame) for case in source.cases]
    assert rows == [
        ("b", "s1", "train", 3),
        ("c", "s3", "test", 3),
        ("x/a", "s1", "train", 3),
        ("y/a", "s2", "validation", 3),
    ]
    assert source.cases[2].image == tmp_path / "x/a.nii.gz"
    assert source.cases[2].label == tmp_path / "l/a.nii.gz"
    assert source.cases[0].label is None


def test_without_split_subjects_are_split(tmp_path):
    text = "subject,image\n" + "".join(f"s{i // 2},{i}.nii\n" for i in range(20))
    cases = ManifestSource(manifest(tmp_path, text)).cases
    assert Counter(case.part for case in cases) == {"train": 14, "validation": 2, "test": 4}
    assert len({(case.subject, case.part) for case in cases}) == 10


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("subject,file\ns,a.nii\n", "has the columns subject, file, expected subject, image"),
        ("subject,image,spilt\ns,a.nii,train\n", "has the columns subject, image, spilt"),
        ("", "has the columns none"),
        ("subject,image\n", "lists no volumes"),
        ("subject,image\ns1,\n", "line 2: subject or image is empty"),
        (
            "subject,image,split\ns1,a.nii,train\ns2,b.nii,hold\n",
            "line 3: split is 'hold', expected train, val or test",
        ),
        ("subject,image,split\ns1,a.nii,train\ns1,b.nii,test\n", "subject 's1' lies in test and train"),
        ("subject,image\ns1,a.nii\ns1,a.nii\n", "lists the image 'a' twice"),
        ("subject,image,split\ns1,x/a.nii,train\ns2,x/../x/a.nii,test\n", "lists the image '/.*/x/a.nii' twice"),
        ("subject,image,split\ns1,a.nii\n", "line 2: has 2 cells, expected 3 for the columns subject, image, split"),
    ],
)
def test_a_wrong_manifest(tmp_path, text, words):
    with pytest.raises(DataError, match=words):
        _ = ManifestSource(manifest(tmp_path, text)).cases


def test_a_manifest_of_excel_is_read_in_utf_8_alone(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text(SPLIT.replace("s3", "Zoë"), encoding="utf-8-sig")
    assert ManifestSource(str(path)).cases[1].subject == "Zoë"
    path.write_text(SPLIT.replace("s3", "Zoë"), encoding="latin-1")
    with pytest.raises(DataError, match=r"list.csv, line 5: holds the byte 0xeb, expected text in UTF-8"):
        _ = ManifestSource(str(path)).cases


def test_no_manifest(tmp_path):
    with pytest.raises(DataError, match=r"absent.csv: no such file, expected a CSV file"):
        _ = ManifestSource(str(tmp_path / "absent.csv")).cases
