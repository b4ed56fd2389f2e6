import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from medgraph.transforms.crops import MultiCrop

PLAIN = {
    "sizes": (20,),
    "counts": (2,),
    "areas": ((1.0, 1.0),),
    "flip_probability": 0.0,
    "rotation": 0.0,
    "aspect": 1.0,
    "intensity_probability": 0.0,
    "blur_probability": 0.0,
    "noise": 0.0,
}
IMAGES = torch.rand(12, 1, 20, 20, generator=torch.Generator().manual_seed(2))


def views(transform, ids, images, seed=1, epoch=0):
    return transform.apply(images, transform.draw(seed, epoch, ids, images.shape[1:]))


@settings(max_examples=15, deadline=None)
@given(order=st.permutations(list(range(12))), keep=st.integers(1, 12), epoch=st.integers(0, 10**6))
def test_a_view_depends_on_its_id_alone(order, keep, epoch):
    transform, ids, chosen = MultiCrop(sizes=(16, 8)), torch.arange(12) + 1000, torch.tensor(order[:keep])
    whole = views(transform, ids, IMAGES, epoch=epoch)
    part = views(transform, ids[chosen], IMAGES[chosen], epoch=epoch)
    for a, b in zip(whole, part, strict=True):
        torch.testing.assert_close(a[chosen], b, rtol=0, atol=1e-5)


def test_nothing_asked_for_is_the_identity():
    for view in views(MultiCrop(**PLAIN), torch.arange(12), IMAGES):
        torch.testing.assert_close(view, IMAGES, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {"areas": ((0.5, 0.6),)},
        {"rotation": 30.0},
        {"aspect": 1.5},
        {"brightness": 0.3},
        {"contrast": 0.5},
        {"gamma": (1.5, 2.0)},
        {"noise": 0.2},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_each_setting_alone_changes_the_crops(changes):
    intensities = {"intensity_probability": 1.0, "brightness": 0.0, "contrast": 0.0, "gamma": (1.0, 1.0)}
    for view in views(MultiCrop(**{**PLAIN, **intensities, **changes}), torch.arange(12), IMAGES):
        assert (view - IMAGES).abs().mean() > 0.005


def test_a_flip_mirrors_left_and_right():
    view = views(MultiCrop(**{**PLAIN, "flip_probability": 1.0}), torch.arange(12), IMAGES)[0]
    torch.testing.assert_close(view, IMAGES.flip(3), rtol=0, atol=1e-5)


def test_epochs_seeds_crops_and_examples_differ():
    same = IMAGES[:1].expand(3, -1, -1, -1)
    transform = MultiCrop(sizes=(16,), counts=(2,), areas=((0.4, 1.0),))
    drawn = [views(transform, torch.arange(3), same, seed, epoch) for seed, epoch in ((1, 0), (1, 1), (2, 0))]
    flat = torch.stack([view[i] for crops in drawn for view in crops for i in range(3)]).flatten(1)
    distances = torch.cdist(flat, flat) + 99 * torch.eye(len(flat))
    assert distances.min() > 0.1


def test_a_record_replays_bit_for_bit():
    transform = MultiCrop(sizes=(16, 8))
    record = transform.draw(3, 4, torch.arange(12), IMAGES.shape[1:])
    for a, b in zip(transform.apply(IMAGES, record), transform.apply(IMAGES, record), strict=True):
        assert torch.equal(a, b)


def test_each_group_gives_its_crops():
    shapes = [tuple(view.shape) for view in views(MultiCrop(sizes=(16, 8), counts=(2, 3)), torch.arange(12), IMAGES)]
    assert shapes == [(12, 1, 16, 16)] * 2 + [(12, 1, 8, 8)] * 3


def test_values_stay_finite_and_near_zero_to_one():
    for view in views(MultiCrop(), torch.arange(12), IMAGES):
        assert torch.isfinite(view).all()
        assert view.min() > -0.5
        assert view.max() < 1.5


@pytest.mark.parametrize("sigma", [0.5, 2.0])
def test_a_blur_has_its_strength(sigma):
    """Also a wide one, which a kernel of a few voxels would cut off."""
    transform = MultiCrop(**{**PLAIN, "blur_probability": 1.0}, blur=(sigma, sigma))
    view = views(transform, torch.arange(12), IMAGES)[0]
    expected = gaussian_filter(IMAGES[3, 0].numpy(), sigma, mode="nearest", radius=math.ceil(3 * sigma))
    torch.testing.assert_close(view[3, 0], torch.from_numpy(expected), rtol=0, atol=1e-5)


def test_a_blur_of_nothing_is_refused():
    with pytest.raises(ValueError, match="blur: expected two numbers, the smaller first within"):
        MultiCrop(blur=(0.0, 1.0))


def test_groups_must_agree_in_length():
    with pytest.raises(ValueError, match="expected the same length, got sizes: 1, counts: 2, areas: 2"):
        MultiCrop(sizes=(16,))


def test_two_assignment_crops_are_needed():
    with pytest.raises(ValueError, match="the first group holds the two assignment crops, got 1 crops"):
        MultiCrop(counts=(1, 2))
