"""Slabs give the answer of the whole volume, and never more rows at once than memory allows."""

import pytest
import torch
from torch.nn import functional as F

from medgraph.errors import DataError
from medgraph.nn.sliding import sliding_window
from medgraph.runner.slabs import check_reading, free_memory, predicted, slabs


@pytest.mark.parametrize("length", [1, 7, 31, 32, 33, 90, 91, 97, 200])
@pytest.mark.parametrize(("size", "overlap"), [(8, 0.5), (8, 0.3), (5, 0.0), (7, 0.9)])
def test_kept_rows_tile_the_volume(length, size, overlap):
    found = slabs(length, size, overlap, max_rows=40)
    assert [row for part in found for row in range(part.first, part.last)] == list(range(length))
    for part in found:
        assert part.start <= part.first < part.last <= part.stop
        assert part.stop - part.start <= 40
        assert part.start % max(1, int(size * (1 - overlap))) == 0


@pytest.mark.parametrize("overlap", [0.5, 0.25])
@pytest.mark.parametrize("length", [64, 67])
def test_a_sliding_window_in_slabs_gives_the_same_logits(rng, overlap, length):
    kernel = torch.randn(2, 1, 3, 3, 3, generator=rng)
    images = torch.randn(1, 1, length, 9, 9, generator=rng)
    size, said = (8, 8, 8), []

    def predict(part):
        return sliding_window(lambda x: F.conv3d(x, kernel, padding=1).cumsum(2), part, size, overlap)  # not local

    row = 4 * 4 * 2 * 81
    parts = list(predicted(predict, images, 2, (8, overlap), 33 * row, said.append))
    assert len(parts) > 1
    assert said == [f"{length} x 9 x 9 voxels, about 0.00 GiB at once; in {len(parts)} slabs of up to 0.00 GiB"]
    torch.testing.assert_close(torch.cat(parts, dim=2), predict(images), rtol=1e-5, atol=1e-5)


def test_what_fits_or_has_no_window_is_predicted_at_once(rng):
    images = torch.randn(1, 1, 64, 4, 4, generator=rng)
    for window, budget in (((8, 0.5), 2**30), (None, 1)):
        parts = list(predicted(lambda x: x, images, 1, window, budget, pytest.fail))
        assert [part.shape for part in parts] == [images.shape]


def test_the_forecast_of_reading_is_kept_or_told():
    check_reading("a", 1000, 1000, 0, 56_000)
    for voxels, extra in ((1001, 0), (1000, 1)):
        with pytest.raises(DataError, match=r"a: \d+ voxels need about .* of memory, but .* are free for one case"):
            check_reading("a", voxels, voxels, extra, 56_000)


def test_free_memory_is_what_this_machine_may_give():
    assert 2**26 < free_memory() < 2**50
