"""VolumeViews: draws by id, geometry in 3D, cut-out, and what they destroy."""

import pytest
import torch

from medgraph.transforms.volume_views import VolumeViews

IDS = torch.tensor([3, 8])
STILL = {"rotation": 0.0, "shift": 0.0, "scale": (1.0, 1.0), "brightness": 0.0, "contrast": 0.0, "noise": 0.0}


def still(**changes):
    return VolumeViews(**{**STILL, "gamma": (1.0, 1.0), **changes})


def views_of(views, images, ids=IDS, epoch=0):
    return views.apply(images, views.draw(5, epoch, ids, images.shape[1:]))


@pytest.fixture
def volumes(rng):
    return torch.rand(2, 1, 6, 8, 10, generator=rng)


def test_without_changes_both_views_are_the_volume(volumes):
    for view in views_of(still(), volumes):
        torch.testing.assert_close(view, volumes, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "changes",
    [
        {"rotation": 30.0},
        {"shift": 0.2},
        {"scale": (0.7, 0.8)},
        {"brightness": 0.3},
        {"contrast": 0.5},
        {"gamma": (1.5, 2.0)},
        {"blur_probability": 1.0},
        {"noise": 0.2},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_each_setting_alone_changes_the_views(changes, volumes):
    for view in views_of(still(**changes), volumes):
        assert (view - volumes).abs().mean() > 0.005


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_each_view_is_the_volume_or_its_mirror(axis, volumes):
    seen = set()
    for epoch in range(4):
        for view in views_of(still(flip_axis=axis), volumes, epoch=epoch):
            for one, volume in zip(view, volumes, strict=True):
                mirrored = torch.allclose(one, volume.flip(1 + axis), atol=1e-5)
                assert mirrored or torch.allclose(one, volume, atol=1e-5)
                seen.add(mirrored)
    assert seen == {True, False}


def test_a_shift_moves_along_the_right_axis(rng):
    volume = torch.zeros(1, 1, 9, 11, 13)
    volume[0, 0, 4, 5, 6] = 1.0
    views = still(shift=0.2)
    record = views.draw(0, 0, torch.tensor([1]), volume.shape[1:])
    view = views.apply(volume, record)[0][0, 0]
    grid = torch.stack(torch.meshgrid(*(torch.arange(n).float() for n in view.shape), indexing="ij"))
    found = (grid * view).sum(dim=(1, 2, 3)) / view.sum()
    moved = record[0]["matrix"][0, :, 3].flip(0) * torch.tensor([9.0, 11.0, 13.0]) / 2
    torch.testing.assert_close(found, torch.tensor([4.0, 5.0, 6.0]) - moved, atol=1e-3, rtol=0)


def test_a_rotation_keeps_a_centered_ball(rng):
    grid = torch.stack(torch.meshgrid(*(torch.arange(n) - (n - 1) / 2 for n in (12, 16, 20)), indexing="ij"))
    ball = torch.sigmoid(1.5 * (2.5 - grid.square().sum(dim=0).sqrt()))[None, None]
    views = still(rotation=90.0)
    for view in views_of(views, ball, torch.tensor([5])):
        torch.testing.assert_close(view, ball, atol=0.06, rtol=0)


def test_an_example_depends_on_seed_epoch_and_id_alone(volumes):
    views = VolumeViews(blur_probability=0.5, cut_probability=0.5)
    whole, alone = views_of(views, volumes), views_of(views, volumes[1:], IDS[1:])
    torch.testing.assert_close(whole[0][1:], alone[0])
    assert not torch.equal(whole[0], whole[1])


def test_cut_out_replaces_a_box_by_the_mean(volumes):
    view = views_of(still(cut_probability=1.0, cut_share=0.9), volumes)[0]
    means = volumes.mean(dim=(1, 2, 3, 4), keepdim=True)
    cut = torch.isclose(view, means, atol=1e-6)
    assert 0 < cut.float().mean() < 0.9
    torch.testing.assert_close(view[~cut], volumes[~cut], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"flip_axis": 0}, "side"),
        ({"flip_axis": 1}, "y"),
        ({"flip_axis": 2}, "angle"),
        ({"rotation": 45.0}, "rotation"),
        ({"scale": (0.7, 1.3)}, "volume"),
        ({"shift": 0.3}, "offset"),
        ({"brightness": 0.4}, "intensity"),
    ],
)
def test_says_what_it_destroys(changes, word):
    assert word in still(**changes).randomises
    assert VolumeViews().randomises == ()


def test_images_are_refused(rng):
    with pytest.raises(ValueError, match=r"expected volumes \(c, d, h, w\), got examples of shape \(1, 8, 8\)"):
        views_of(VolumeViews(), torch.rand(2, 1, 8, 8, generator=rng))


def test_refuses_wrong_arguments():
    with pytest.raises(ValueError, match="flip_axis: expected one of None, 0, 1, 2, got 3"):
        VolumeViews(flip_axis=3)
