import shutil

import numpy as np
import pytest
from reference.dicom_files import write_series

from medgraph.data import itk, nifti
from medgraph.data.folder import FolderSource
from medgraph.data.samples import SampleSource
from medgraph.data.volume_audit import volume_lines


@pytest.fixture
def source(labelled_folder):
    return FolderSource(
        str(labelled_folder), images="images/*.nii.gz", labels="labels/*.nii.gz", classes=("a", "b", "c")
    )


def test_parts_pairing_and_grids_are_told(source, labelled_folder):
    (labelled_folder / "labels/sub0.nii.gz").unlink()
    lines = volume_lines(source)
    assert [int(line.split()[2]) for line in lines[:3]] == [4, 1, 1]
    assert sum(int(line.split()[-3]) for line in lines[:3]) == 5
    shapes = np.array([nifti.read_grid(case.image).ras_shape for case in source.cases])
    low, high = (" x ".join(map(str, ends)) for ends in (shapes.min(axis=0), shapes.max(axis=0)))
    assert f"grid   shape {low} to {high} (right x anterior x superior), 6 different" in lines
    assert "labels a, b, c" in lines
    assert lines[-1] == "leak   no image lies in two parts"


def test_equal_files_and_leaks_are_found(source, labelled_folder):
    parts = {case.part: case for case in source.cases}
    shutil.copyfile(parts["train"].image, parts["test"].image)
    lines = volume_lines(source)
    names = sorted([parts["train"].image.name, parts["test"].image.name])
    assert [sorted(line.split()[1::2]) for line in lines if line.startswith("same")] == [names]
    assert lines[-1] == "leak   1 images lie in two parts"


def test_the_sample_is_sound():
    assert volume_lines(SampleSource())[-1] == "leak   no image lies in two parts"


def test_the_voxels_behind_a_header_and_all_slices_of_a_series_are_compared(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(4):
        voxels = rng.integers(0, 900, (4, 5, 6)).astype(np.int16)
        for root in ("headers", "series"):
            (tmp_path / root / f"s{number}").mkdir(parents=True)
        itk.write_volume(tmp_path / f"headers/s{number}/image.mhd", voxels, np.eye(4))
        write_series(tmp_path / f"series/s{number}", voxels, np.eye(4))
    headers = FolderSource(str(tmp_path / "headers"), "*/image.mhd", fractions=(0.5, 0.0, 0.5))
    series = FolderSource(str(tmp_path / "series"), "*", fractions=(0.5, 0.0, 0.5))
    for source in (headers, series):
        assert volume_lines(source)[-1] == "leak   no image lies in two parts"
        here, there = (next(case.image for case in source.cases if case.part == part) for part in ("train", "test"))
        folders = [path if path.is_dir() else path.parent for path in (here, there)]
        shutil.copytree(*folders, dirs_exist_ok=True)
        assert volume_lines(source)[-1] == "leak   1 images lie in two parts"
