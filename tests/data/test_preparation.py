import numpy as np
import pytest
from reference.nifti_files import write

from medgraph.data.folder import FolderSource
from medgraph.data.preparation import Preparation, even_spacing
from medgraph.errors import DataError


def source(folder, spacings, fractions=(1.0, 0.0, 0.0)):
    """Volumes of 12 x 8 x 10 voxels with these millimetres."""
    for number, spacing in enumerate(spacings):
        voxels = np.random.default_rng(number).normal(size=(12, 8, 10)).astype(np.float32)
        write(folder / f"{number}.nii.gz", voxels, np.diag([*spacing, 1.0]))
    return FolderSource(str(folder), fractions=fractions)


def made(source, axis=1, percentiles=(0.5, 99.5), spacing=None, spacing_tolerance=0.2, score_range=(-3.0, 3.0)):
    return Preparation(source, axis, percentiles, spacing, spacing_tolerance, score_range)


def test_volumes_of_one_spacing_stay_as_they_are(tmp_path):
    volumes = source(tmp_path, [(1.0, 3.0, 1.0), (1.19, 9.0, 1.0), (1.1, 1.0, 0.9)])
    assert even_spacing(volumes, 1, 0.2) is None  # slices may be as far apart as they like
    assert even_spacing(volumes, 1, 0.1) == pytest.approx((1.1, None, 1.0))
    assert even_spacing(volumes, 2, 0.2) == pytest.approx((1.1, 3.0, None))


def test_others_are_brought_to_the_median_within_the_plane(tmp_path):
    volumes = source(tmp_path, [(1.0, 3.0, 1.0), (2.0, 5.0, 1.0), (0.5, 4.0, 1.0)])
    cache = made(volumes).cache
    assert cache.spacing == (1.0, None, 1.0)
    shapes = [cache.prepared(case.image).shape for case in volumes.cases]
    assert shapes == [(12, 8, 10), (24, 8, 10), (6, 8, 10)]


def test_the_median_is_that_of_the_training_volumes(tmp_path):
    volumes = source(tmp_path, [(1.0, 3.0, 1.0)] * 3 + [(4.0, 3.0, 1.0)] * 3, fractions=(0.5, 0.0, 0.5))
    training = [case.image.name for case in volumes.cases if case.part == "train"]
    wide = [name for name in training if int(name[0]) >= 3]
    expected = float(np.median([4.0 if name in wide else 1.0 for name in training]))
    found = made(volumes).cache.spacing
    assert found == ((expected, None, 1.0) if wide and len(wide) < len(training) else None)


def test_what_was_found_needs_no_training_volume_any_more(tmp_path):
    volumes = source(tmp_path, [(1.0, 3.0, 1.0), (2.0, 5.0, 1.0), (0.5, 4.0, 1.0)])
    node = made(volumes).settled({"name": "slices", "spacing": None, "spacing_tolerance": 0.2})
    assert node == {"name": "slices", "spacing": [1.0, None, 1.0], "spacing_tolerance": None}
    for case in volumes.cases:
        case.image.unlink()
    again = made(volumes, spacing=tuple(node["spacing"]), spacing_tolerance=node["spacing_tolerance"])
    assert again.cache.spacing == (1.0, None, 1.0)
    assert again.settled(node) == node


def test_headers_are_read_when_they_are_needed(tmp_path):
    preparation = made(FolderSource(str(tmp_path / "nowhere")))
    with pytest.raises(DataError, match="no such folder"):
        _ = preparation.cache


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"spacing": (1.0, 1.0, 1.0)}, "spacing_tolerance: has no effect beside spacing"),
        ({"spacing_tolerance": -0.1}, "spacing_tolerance: expected 0 or more"),
        ({"spacing": (1.0, None, 0.0), "spacing_tolerance": None}, "spacing: expected a number above 0, got 0.0"),
        ({"score_range": (1.0, 1.0)}, "score_range: expected two different numbers"),
        ({"score_range": (3.0, -3.0)}, "score_range: expected two numbers, the smaller first"),
    ],
)
def test_wrong_settings(tmp_path, arguments, words):
    with pytest.raises(ValueError, match=words):
        made(FolderSource(str(tmp_path)), **arguments)
