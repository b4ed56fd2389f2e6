import json
from collections import Counter

import pytest

from medgraph.data.decathlon import DecathlonSource
from medgraph.errors import DataError


def write_index(folder, **changes):
    index = {
        "labels": {"0": "background", "1": "anterior", "2": "posterior"},
        "training": [{"image": f"./images/p{i:02d}.nii.gz", "label": f"./labels/p{i:02d}.nii.gz"} for i in range(10)],
        **changes,
    }
    (folder / "dataset.json").write_text(json.dumps({k: v for k, v in index.items() if v is not None}))
    return str(folder)


def test_files_classes_and_fractions(tmp_path):
    source = DecathlonSource(write_index(tmp_path), frame=2)
    assert source.classes == ("background", "anterior", "posterior")
    case = source.cases[3]
    assert (case.id, case.subject, case.frame) == ("p03", "p03", 2)
    assert case.image == tmp_path / "images/p03.nii.gz"
    assert case.label == tmp_path / "labels/p03.nii.gz"
    assert Counter(case.part for case in source.cases) == {"train": 7, "validation": 1, "test": 2}


def test_the_split_of_the_file_is_used_and_unnamed_cases_left_out(tmp_path):
    root = write_index(tmp_path, split={"train": ["p01", "p00"], "val": ["p02"], "test": ["p05"]})
    parts = [(case.id, case.part) for case in DecathlonSource(root).cases]
    assert parts == [("p00", "train"), ("p01", "train"), ("p02", "validation"), ("p05", "test")]


def test_subjects_of_the_file_stay_together(tmp_path):
    root = write_index(tmp_path, subjects={f"p{i:02d}": f"s{i // 2}" for i in range(10)})
    cases = DecathlonSource(root, fractions=(0.6, 0.2, 0.2)).cases
    assert all(len({c.part for c in cases if c.subject == f"s{i}"}) == 1 for i in range(5))
    assert Counter(case.part for case in cases) == {"train": 6, "validation": 2, "test": 2}


def test_subjects_by_pattern(tmp_path):
    source = DecathlonSource(write_index(tmp_path), subject_pattern=r"p(\d)")
    with pytest.raises(DataError, match="1 subjects for 3 parts"):
        _ = source.cases
    with pytest.raises(DataError, match=r"subject_pattern 'q\(\.\)' finds no group in the id 'p00'"):
        _ = DecathlonSource(write_index(tmp_path), subject_pattern="q(.)").cases


def test_a_subject_in_two_parts(tmp_path):
    root = write_index(tmp_path, split={"train": ["p00"], "test": ["p01"]}, subjects={"p00": "s", "p01": "s"})
    with pytest.raises(DataError, match=r"dataset.json: subject 's' lies in test and train"):
        _ = DecathlonSource(root).cases


def test_images_without_labels_are_listed(tmp_path):
    cases = DecathlonSource(write_index(tmp_path, training=["a.nii.gz", {"image": "b.nii"}, "c.nii"])).cases
    assert [(case.id, case.label) for case in cases] == [("a", None), ("b", None), ("c", None)]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"training": []}, "lists no volumes under `training`"),
        ({"training": [{"label": "a.nii"}]}, "training holds {'label': 'a.nii'}, expected"),
        ({"training": ["a/x.nii", "b/x.nii"]}, "training lists 'x' twice"),
        ({"training": None}, "lists no volumes under `training`"),
        ({"split": {"train": ["p99"]}}, "split names 'p99', expected an id of `training`"),
        ({"split": {"holdout": ["p01"]}}, "split has the key 'holdout', expected train, val or test"),
        ({"split": {"train": ["p01"], "test": ["p01"]}}, "split names 'p01' twice"),
        ({"training": {"a": "b.nii"}}, "training is a dict .*, expected a list of files, or of image and label files"),
        ({"training": "a.nii"}, "training is a str 'a.nii', expected a list of files"),
        ({"training": 3}, "training is a int '3', expected a list of files"),
        ({"training": [""]}, "training holds {'image': ''}, expected"),
        ({"training": [{"image": "a.nii", "label": 3}]}, "training holds {'image': 'a.nii', 'label': 3}, expected"),
        ({"split": ["p01"]}, "split is a list .*, expected ids by part"),
        ({"split": {"train": "p01"}}, "split gives 'p01' as train, expected a list of ids"),
        ({"split": {"train": [{}]}}, "split gives .* as train, expected a list of ids"),
        ({"subjects": ["s"]}, "subjects is a list .*, expected a subject for each id"),
        ({"labels": ["background"]}, "labels is a list .*, expected names by number"),
    ],
)
def test_a_wrong_index(tmp_path, changes, words):
    with pytest.raises(DataError, match=words):
        _ = DecathlonSource(write_index(tmp_path, **changes)).cases


@pytest.mark.parametrize("labels", [{"background": 0, "tumour": 1}, {"0": "background", "1": 1}])
def test_labels_that_are_no_names_by_number(tmp_path, labels):
    with pytest.raises(DataError, match=r"dataset.json: labels hold .*, expected a name for each number such as"):
        _ = DecathlonSource(write_index(tmp_path, labels=labels)).classes


def test_label_values_with_a_gap(tmp_path):
    root = write_index(tmp_path, labels={"0": "background", "2": "tumour"})
    with pytest.raises(DataError, match=r"labels declare the values \[0, 2\], expected 0, 1, 2, ... without gaps"):
        _ = DecathlonSource(root).classes


def test_no_index_and_no_json(tmp_path):
    source = DecathlonSource(str(tmp_path))  # making it touches no file
    with pytest.raises(DataError, match=r"dataset.json: no such file, expected the index of a Decathlon data set"):
        _ = source.cases
    (tmp_path / "dataset.json").write_text("{")
    with pytest.raises(DataError, match=r"dataset.json: is not JSON"):
        _ = source.cases
