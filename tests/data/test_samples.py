from collections import Counter
from pathlib import Path

import pytest

from medgraph.data import nifti, samples
from medgraph.data.samples import SampleSource


def test_hippocampus_is_whole_and_split_by_subject():
    source = SampleSource()
    assert source.classes == ("background", "Anterior", "Posterior")
    assert Counter(case.part for case in source.cases) == {"train": 24, "test": 16}
    assert set(Counter(case.subject for case in source.cases).values()) == {2}
    for case in source.cases:
        number = int(case.id[-3:])
        assert case.subject == f"subject_{(number + 1) // 2:03d}"
        labels = nifti.read_labels(case.label, nifti.read_grid(case.image), source.classes)
        assert set(labels.ravel().tolist()) == {0, 1, 2}


def test_licence_and_citation_ship_beside_the_files():
    text = (Path(samples.__file__).parents[1] / "samples/hippocampus/LICENSE.md").read_text()
    assert "CC BY-SA 4.0" in text
    assert "arXiv:1902.09063" in text


def test_an_unknown_sample():
    with pytest.raises(ValueError, match="dataset: expected one of 'hippocampus', got 'heart'"):
        SampleSource("heart")
