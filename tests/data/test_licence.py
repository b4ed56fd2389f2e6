"""The licence of data is what their source says, else what lies beside them, else nothing."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from medgraph.data.classified import ClassifiedArraysData
from medgraph.data.decathlon import DecathlonSource
from medgraph.data.folder import FolderSource
from medgraph.data.licence import licences
from medgraph.data.manifest import ManifestSource
from medgraph.data.samples import SampleSource


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (lambda path: FolderSource(str(path), licence="ours"), ["ours"]),
        (lambda path: ManifestSource(str(path / "list.csv"), licence="theirs"), ["theirs"]),
        (lambda path: DecathlonSource(str(path)), ["CC-BY-SA 4.0"]),
        (lambda path: SampleSource(), ["CC-BY-SA 4.0"]),
        (lambda path: FolderSource(str(path)), []),
        (lambda path: SimpleNamespace(), []),
    ],
)
def test_a_source_says_it(tmp_path, source, expected):
    (tmp_path / "dataset.json").write_text(json.dumps({"training": ["a.nii.gz"], "licence": "CC-BY-SA 4.0"}))
    assert licences(SimpleNamespace(source=source(tmp_path))) == expected


@pytest.mark.parametrize("name", ["LICENSE", "LICENCE.txt", "LICENSE.md"])
def test_a_file_beside_the_data_says_it(tmp_path, name):
    (tmp_path / name).write_text("# creative commons\n\n  Attribution 3.0 Unported\n\nmore\n")
    expected = [f"creative commons Attribution 3.0 Unported ({name} beside the data)"]
    assert licences(SimpleNamespace(source=FolderSource(str(tmp_path)))) == expected
    np.savez(tmp_path / "a.npz", train_images=np.zeros((2, 4, 4)), train_labels=np.arange(2))
    assert licences(ClassifiedArraysData(str(tmp_path / "a.npz"), seed=0)) == expected
    (tmp_path / name).write_text("\n\n")
    assert licences(SimpleNamespace(source=FolderSource(str(tmp_path)))) == []


def test_parts_are_asked_one_by_one_and_each_licence_is_told_once(tmp_path):
    one = SimpleNamespace(source=FolderSource(str(tmp_path), licence="first"))
    two = SimpleNamespace(source=FolderSource(str(tmp_path), licence="second"))
    assert licences(SimpleNamespace(data=[one, two, one])) == ["first", "second"]
    assert licences(SimpleNamespace(image_data=one, volume_data=two)) == ["first", "second"]
