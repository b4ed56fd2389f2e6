import numpy as np
import pytest
import torch
from reference.nifti_files import FLIPPED, rotation

from medgraph.data import planes
from medgraph.data.nifti import Grid
from medgraph.data.planes import Planes

AFFINES = [np.eye(4), FLIPPED, rotation(25)]
SHAPE = (9, 12, 7)


def random_labels(shape=SHAPE):
    return np.random.default_rng(0).integers(1, 4, shape).astype(np.uint8)


@pytest.mark.parametrize("affine", AFFINES)
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("upright", [False, True])
def test_labels_come_back_to_the_native_grid_bit_for_bit(affine, axis, upright):
    grid = Grid(SHAPE, affine)
    cut = Planes(grid, grid.ras_shape, axis, (16, 16), upright)
    labels = random_labels()
    back = cut.to_native(cut.cut_native(labels))
    assert back.dtype == labels.dtype
    np.testing.assert_array_equal(back, labels)


@pytest.mark.parametrize("affine", AFFINES)
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("size", [(5, 6), (4, 20), (7, 3)])
@pytest.mark.parametrize("upright", [False, True])
def test_inside_the_crop_labels_come_back_and_outside_is_background(affine, axis, size, upright):
    grid = Grid(SHAPE, affine)
    cut = Planes(grid, grid.ras_shape, axis, size, upright)
    labels = random_labels()
    back = cut.to_native(cut.cut_native(labels))
    inside = back > 0  # no label is 0
    plane = [n for other, n in enumerate(grid.ras_shape) if other != axis][:: -1 if upright else 1]
    kept = min(plane[0], size[0]) * min(plane[1], size[1]) * grid.ras_shape[axis]
    assert inside.sum() == kept
    np.testing.assert_array_equal(back[inside], labels[inside])


def test_doubling_the_voxels_and_back_changes_no_label():
    grid = Grid(SHAPE, FLIPPED)
    shape = planes.resampled_shape(grid, tuple(s / 2 for s in grid.ras_spacing))
    assert shape == tuple(2 * n for n in grid.ras_shape)
    cut = Planes(grid, shape, 1, (40, 40))
    labels = random_labels()
    np.testing.assert_array_equal(cut.to_native(cut.cut_native(labels)), labels)


def test_chosen_slices_are_those_of_the_whole_stack():
    voxels = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    cut = Planes(Grid(SHAPE, np.eye(4)), SHAPE, 1, (8, 8))
    numbers = np.array([7, 2, 2])
    np.testing.assert_array_equal(cut.cut(voxels, numbers), cut.cut(voxels)[numbers])
    np.testing.assert_array_equal(cut.cut(voxels)[3, :7], voxels[1:9, 3, :].T[::-1, ::-1])
    plain = Planes(Grid(SHAPE, np.eye(4)), SHAPE, 1, (8, 8), upright=False)
    np.testing.assert_array_equal(plain.cut(voxels)[3, :, :7], voxels[0:8, 3, :][:, 0:7])


@pytest.mark.parametrize(
    ("axis", "corner"),
    [(0, (1, "A", "S")), (1, ("R", 1, "S")), (2, ("R", "A", 1))],
    ids=["sagittal", "coronal", "axial"],
)
@pytest.mark.parametrize("affine", AFFINES[:2])
def test_slices_lie_as_viewers_show_them(axis, corner, affine):
    """Superior, or anterior of axial ones, is above; right, or anterior of sagittal ones, is on the left."""
    grid = Grid(SHAPE, affine)
    voxels = np.zeros(grid.ras_shape, dtype=np.float32)
    place = [0, 0, 0]
    for number, where in enumerate(corner):
        place[number] = grid.ras_shape[number] - 1 if isinstance(where, str) else 1
    voxels[tuple(place)] = 1
    plane = [n for other, n in enumerate(grid.ras_shape) if other != axis]
    found = Planes(grid, grid.ras_shape, axis, (plane[1], plane[0])).cut(voxels)
    assert found[place[axis], 0, 0] == 1


def test_nothing_is_cropped_where_slices_are_to_be_whole():
    cut = Planes(Grid(SHAPE, np.eye(4)), SHAPE, 2, (8, 30)).uncropped()
    assert cut.size == (12, 30)
    labels = random_labels()
    np.testing.assert_array_equal(cut.to_native(cut.cut_native(labels)), labels)


def test_resampling_keeps_a_ramp_a_ramp():
    ramp = np.broadcast_to(np.arange(10, dtype=np.float32)[:, None, None], (10, 4, 4))
    finer = planes.resample(ramp, (20, 4, 4))[:, 0, 0]
    np.testing.assert_allclose(np.diff(finer[1:-1]), 0.5, atol=1e-6)


def test_tensors_are_taken_too_and_a_wrong_stack_is_refused():
    cut = Planes(Grid(SHAPE, np.eye(4)), SHAPE, 1, (8, 8))
    assert cut.to_native(torch.ones(12, 8, 8, dtype=torch.long)).shape == SHAPE
    with pytest.raises(ValueError, match=r"label_slices: expected shape \(12, 8, 8\), got \(11, 8, 8\)"):
        cut.to_native(torch.ones(11, 8, 8))
