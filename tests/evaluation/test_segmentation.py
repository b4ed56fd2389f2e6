import numpy as np
import pytest
import torch

from medgraph.data.labelled_slices import LabelledSliceData
from medgraph.data.samples import SampleSource
from medgraph.errors import DataError
from medgraph.evaluation import segmentation
from medgraph.evaluation.segmentation import SegmentationScores, dice, hd95, surface_dice, volume_error


def cube(start, size=6, shape=(20, 20, 20)):
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(s, s + size) for s in start)] = True
    return mask


def test_dice_counts_voxels_twice_in_the_overlap():
    assert dice(cube((2, 2, 2)), cube((5, 2, 2))) == pytest.approx(0.5)
    assert dice(cube((2, 2, 2)), cube((12, 12, 12))) == 0.0
    assert dice(cube((2, 2, 2), 0), cube((2, 2, 2), 0)) == 1.0


def test_a_shifted_cube_is_as_far_as_its_shift_in_millimetres():
    assert hd95(cube((2, 2, 2)), cube((5, 2, 2)), (2.0, 1.0, 1.0)) == pytest.approx(6.0)
    assert hd95(cube((2, 2, 2)), cube((2, 5, 2)), (2.0, 1.0, 1.0)) == pytest.approx(3.0)
    assert hd95(cube((2, 2, 2)), cube((2, 2, 2)), (2.0, 1.0, 1.0)) == 0.0


def test_a_label_that_is_missed_costs_the_diagonal():
    assert hd95(cube((0, 0, 0), 0), cube((2, 2, 2)), (1.0, 1.0, 2.0)) == pytest.approx(20 * 6**0.5)
    assert hd95(cube((0, 0, 0), 0), cube((2, 2, 2), 0), (1.0, 1.0, 2.0)) == 0.0


def test_surface_dice_is_the_share_of_surface_within_the_tolerance():
    near, far = cube((2, 2, 2)), cube((5, 2, 2))
    assert surface_dice(near, far, (1.0, 1.0, 1.0), 3.0) == 1.0
    assert 0.3 < surface_dice(near, far, (1.0, 1.0, 1.0), 1.0) < 0.7
    assert surface_dice(near, far, (2.0, 1.0, 1.0), 3.0) < 1.0
    assert surface_dice(near, cube((2, 2, 2), 0), (1.0, 1.0, 1.0), 3.0) == 0.0
    assert surface_dice(cube((2, 2, 2), 0), cube((2, 2, 2), 0), (1.0, 1.0, 1.0), 3.0) == 1.0


def surface(mask, spacing):
    """Millimetres (n, axes) of the voxels of a mask that have a face to the outside."""
    padded = np.pad(mask, 1)
    inner = padded.copy()
    for axis in range(mask.ndim):
        for step in (-1, 1):
            inner &= np.roll(padded, step, axis)
    return np.argwhere(padded & ~inner) * np.array(spacing)


@pytest.mark.parametrize(("shape", "spacing"), [((7, 9, 6), (2.0, 0.7, 1.3)), ((9, 11), (1.5, 0.8))])
def test_distances_are_those_of_all_pairs_of_surface_voxels(shape, spacing):
    rng = np.random.default_rng(0)
    for share in (0.05, 0.3, 0.9):
        predicted, truth = rng.random(shape) < share, rng.random(shape) < share
        p, t = surface(predicted, spacing), surface(truth, spacing)
        pairs = np.linalg.norm(p[:, None] - t, axis=2)
        there, back = pairs.min(axis=1), pairs.min(axis=0)
        assert hd95(predicted, truth, spacing) == pytest.approx(max(np.percentile(d, 95) for d in (there, back)))
        near = (np.sum(there <= 1.45) + np.sum(back <= 1.45)) / (len(p) + len(t))
        assert surface_dice(predicted, truth, spacing, 1.45) == pytest.approx(near)


def test_a_single_slice_is_seen_as_an_image():
    """As a body all of it would be surface, and a hole would be near everything."""
    full, holed = cube((2, 2, 0), 12, (20, 20, 1)), cube((2, 2, 0), 12, (20, 20, 1))
    holed[6:10, 6:10] = False
    assert hd95(full, holed, (2.0, 1.0, 5.0)) == pytest.approx(hd95(full[..., 0], holed[..., 0], (2.0, 1.0)))
    assert hd95(full, holed, (1.0, 1.0, 5.0)) > 2
    assert surface_dice(full, holed, (1.0, 1.0, 5.0), 1.0) < 1.0
    assert hd95(full[..., :0, :], holed[..., :0, :], (1.0, 1.0, 1.0)) == 0.0


def test_volume_error_is_in_millilitres():
    assert volume_error(cube((2, 2, 2)), cube((2, 2, 2), 5), (2.0, 1.0, 1.0)) == pytest.approx((216 - 125) * 2 / 1000)


def test_a_spacing_may_mix_whole_and_broken_numbers():
    near, far = cube((2, 2, 2)), cube((5, 2, 2))
    assert hd95(near, far, (2, 1.0, 1)) == pytest.approx(6.0)
    assert surface_dice(near, far, (1, 1.0, 1), 3.0) == 1.0


class Cheat(torch.nn.Module):
    """Knows the truth: what it predicts is right wherever the crop reaches."""

    def __init__(self, data):
        super().__init__()
        self.truth = {case.images.sum().item(): torch.as_tensor(case.record.cut_native(case.labels)) for case in data}

    def predict(self, images):
        return torch.nn.functional.one_hot(self.truth[images.sum().item()].long(), 3).permute(0, 3, 1, 2).float()


def test_the_truth_scores_one_on_the_native_grid(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDGRAPH_CACHE", str(tmp_path))
    data = LabelledSliceData(SampleSource(), seed=0, size=(64, 64), num_labelled=1)
    scores = SegmentationScores(batch_size=1000).evaluate(Cheat(data.test()), data)
    assert len(scores.rows) == 2 * len(data.test())
    assert {row["label"] for row in scores.rows} == set(data.spec.classes[1:])
    assert all(row["dice"] == 1.0 and row["hd95"] == 0.0 for row in scores.rows)
    assert all(row["surface_dice"] == 1.0 and row["volume_error"] == 0.0 for row in scores.rows)
    assert scores.overlays[0]["truth"] == scores.overlays[0]["prediction"]


def test_pictures_stay_small_however_large_and_many_the_cases_are(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDGRAPH_CACHE", str(tmp_path))
    data = LabelledSliceData(SampleSource(), seed=0, size=(64, 64), num_labelled=1)
    whole = SegmentationScores(batch_size=1000).evaluate(Cheat(data.test()), data).overlays
    assert len(whole) == len(data.test())
    monkeypatch.setattr(segmentation, "_WIDEST", 30)
    monkeypatch.setattr(segmentation, "_MOST_PIXELS", 3 * 22 * 22 - 1)
    few = SegmentationScores(batch_size=1000).evaluate(Cheat(data.test()), data).overlays
    assert [picture["case"] for picture in few] == [picture["case"] for picture in whole[:3]]
    for name in ("image", "truth", "prediction"):
        assert few[1][name] == [row[::3] for row in whole[1][name][::3]]


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_model_that_predicts_no_number_is_refused(value, tmp_path, monkeypatch):
    monkeypatch.setenv("MEDGRAPH_CACHE", str(tmp_path))
    data = LabelledSliceData(SampleSource(), seed=0, size=(64, 64), num_labelled=1)
    cases = data.test()[:1]
    data.test = lambda: cases

    class Diverged(Cheat):
        def predict(self, images):
            logits = super().predict(images)
            logits[0, :, 3, 4] = value
            return logits

    with pytest.raises(DataError, match=f"model: predicts NaN or infinity in {cases[0].id}, expected finite logits"):
        SegmentationScores(batch_size=1000).evaluate(Diverged(cases), data)


def test_classes_beyond_what_a_byte_holds_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDGRAPH_CACHE", str(tmp_path))
    case = LabelledSliceData(SampleSource(), seed=0, size=(8, 8)).test()[0]

    class Many(torch.nn.Module):
        def predict(self, images):
            return torch.nn.functional.one_hot(torch.full(images[:, 0].shape, 280), 300).movedim(-1, 1).float()

    assert (SegmentationScores()._predict(Many(), case, "cpu") == 280).all()


def test_slices_with_context_are_scored_with_all_of_their_stack(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDGRAPH_CACHE", str(tmp_path))
    data = LabelledSliceData(SampleSource(), seed=0, size=(64, 64), num_labelled=1)
    cases = data.test()[:1]
    data.test = lambda: cases
    seen = []

    class Counting(Cheat):
        def predict(self, images):
            seen.append(len(images))
            return torch.zeros(len(images), 3, *images.shape[2:])

    model = Counting(cases)
    SegmentationScores(batch_size=8).evaluate(model, data)
    assert max(seen) == 8
    model.context = torch.nn.Identity()
    seen.clear()
    SegmentationScores(batch_size=8).evaluate(model, data)
    assert seen == [len(cases[0].images)]


def test_a_speck_is_dropped_when_only_the_largest_piece_counts(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDGRAPH_CACHE", str(tmp_path))
    data = LabelledSliceData(SampleSource(), seed=0, size=(64, 64), num_labelled=1)
    cases = data.test()[:1]
    data.test = lambda: cases
    cheat = Cheat(cases)
    for truth in cheat.truth.values():
        assert truth[0, 32, 32] == 0
        truth[0, 32, 32] = 1
    makes = (SegmentationScores(batch_size=1000, largest_component=keep) for keep in (False, True))
    plain, cleaned = (scores.evaluate(cheat, data).rows[0] for scores in makes)
    assert plain["dice"] < 1.0
    assert cleaned["dice"] == 1.0
