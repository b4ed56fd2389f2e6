import pytest
import torch
from scipy.ndimage import gaussian_filter

from medgraph.transforms.stack_views import KINDS, StackViews

STILL = {"rotation": 0.0, "scale": (1.0, 1.0), "shift": 0.0, "kinds": ("none",), "different": False}


@pytest.fixture
def stacks(rng):
    slices = torch.rand(3, 9, 1, 12, 12, generator=rng)
    valid = torch.arange(9) < torch.tensor([9, 5, 7])[:, None]
    return slices * valid[:, :, None, None, None], valid


def views(transform, slices, valid, epoch=0, ids=None):
    ids = torch.arange(len(slices)) if ids is None else ids
    return transform.apply(slices, valid, transform.draw(7, epoch, ids, valid.sum(dim=1)))


def test_without_change_both_views_are_the_volume(stacks):
    slices, valid = stacks
    (first, second), shown, index = views(StackViews(**STILL), slices, valid)
    torch.testing.assert_close(first, slices, rtol=0, atol=1e-5)
    torch.testing.assert_close(second, first, rtol=0, atol=0)
    assert torch.equal(shown, valid)
    assert (index == torch.arange(9)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_slice_i_of_both_views_is_the_same_slice(kind, rng):
    """Each slice has its own level, so that a slice out of place shows (10.8)."""
    slices = (torch.arange(1.0, 10) / 12)[None, :, None, None, None].expand(2, 9, 1, 12, 12)
    transform = StackViews(num_slices=4, kinds=(kind,), different=False, gamma=(0.9, 1.1), bias=0.02, noise=(0, 0.01))
    (first, second), shown, index = views(transform, slices, torch.ones(2, 9, dtype=torch.bool))
    for view in (first, second):
        level = view.mean(dim=(2, 3, 4)) * 12 - 1
        assert (level - index).abs().max() < 0.5
    assert shown.all()


def test_a_window_lies_in_its_volume_and_moves_with_the_epoch(stacks):
    slices, valid = stacks
    transform = StackViews(num_slices=3, stride=2, **STILL)
    starts = set()
    for epoch in range(12):
        (first, _), shown, index = views(transform, slices, valid, epoch)
        assert first.shape[1] == 3
        assert shown.all()
        assert (index[:, 1:] - index[:, :-1] == 2).all()
        assert (index.max(dim=1).values < valid.sum(dim=1)).all()
        starts.add(int(index[0, 0]))
    assert starts == {0, 1, 2, 3, 4}
    assert transform.span == 5


def test_a_short_volume_comes_whole_where_allowed(stacks):
    slices, valid = stacks
    (first, _), shown, _ = views(StackViews(num_slices=8, allow_short=True, **STILL), slices, valid)
    assert shown.sum(dim=1).tolist() == [8, 5, 7]
    assert (first[~shown] == 0).all()


def test_a_view_does_not_depend_on_its_neighbours(stacks):
    slices, valid = stacks
    together, _, _ = views(StackViews(flip_probability=0.5), slices, valid)
    alone, _, _ = views(StackViews(flip_probability=0.5), slices[1:2, :5], valid[1:2, :5], ids=torch.tensor([1]))
    for ours, theirs in zip(together, alone, strict=True):
        torch.testing.assert_close(ours[1:2, :5], theirs, rtol=0, atol=1e-6)


def test_the_two_views_differ_in_kind(stacks):
    valid = stacks[1]
    transform = StackViews()
    for epoch in range(20):
        record = transform.draw(0, epoch, torch.arange(3), valid.sum(dim=1))
        first, second = record["views"]
        for name in ("noise", "blur"):
            assert not ((first[name] > 0) & (second[name] > 0)).any()


@pytest.mark.parametrize("kind", KINDS[:-1])
def test_each_kind_changes_the_slices(kind, stacks):
    slices, valid = stacks
    moving = {"rotation": 10.0} if kind == "affine" else {}
    changed, _, _ = views(StackViews(**{**STILL, "kinds": (kind,), **moving}), slices, valid)
    assert (changed[0] - slices)[valid].abs().mean() > 0.005
    assert torch.isfinite(changed[0]).all()


def test_every_view_is_moved_unless_that_is_one_of_the_changes(stacks):
    valid = stacks[1]
    ids, lengths = torch.arange(200), valid.sum(dim=1)[:1].repeat(200)
    always = StackViews().draw(0, 0, ids, lengths)["views"]
    assert all((view["angle"] != 0).all() for view in always)
    drawn = StackViews(kinds=KINDS[:-1]).draw(0, 0, ids, lengths)["views"]
    changes = []
    for view in drawn:
        moved = view["angle"] != 0
        assert torch.equal(moved, (view["scale"] != 1) & (view["shift"] != 0).all(dim=1))
        others = [view["noise"] > 0, view["blur"] > 0, view["gamma"] != 1, view["factor"] > 1]
        changes.append(torch.stack([*others, (view["bias"] != 0).all(dim=1), view["flip"] > 0, moved]))
    assert all((change.sum(dim=0) == 1).all() for change in changes)  # one change a view, as the release has it
    assert not (changes[0] & changes[1]).any()  # and never the same one
    assert all(change.any(dim=1).all() for change in changes)  # each comes up


def test_a_drawn_flip_mirrors_left_and_right(stacks):
    slices, valid = stacks
    (first, _), _, _ = views(StackViews(**{**STILL, "kinds": ("flip",)}), slices, valid)
    torch.testing.assert_close(first, slices.flip(4), rtol=0, atol=1e-5)


def test_a_wide_blur_is_not_cut_off(rng):
    slices, valid = torch.rand(1, 2, 1, 24, 24, generator=rng), torch.ones(1, 2, dtype=torch.bool)
    transform = StackViews(**{**STILL, "kinds": ("blur",)}, blur=(2.5, 2.5))
    (first, _), _, _ = views(transform, slices, valid)
    expected = gaussian_filter(slices[0, 1, 0].numpy(), 2.5, mode="nearest", radius=8)
    torch.testing.assert_close(first[0, 1, 0], torch.from_numpy(expected), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"num_slices": 0}, "num_slices: expected 1 or more, got 0"),
        ({"stride": 0}, "stride: expected 1 or more, got 0"),
        ({"kinds": ("sharpen",)}, "kinds: expected one of 'noise'"),
        ({"kinds": ("noise",)}, "kinds: expected 2 or more"),
        ({"kinds": ("noise", "blur", "noise")}, "kinds: 'noise' is listed twice, so both views may get it"),
        ({"blur": (0.0, 1.0)}, "blur: expected two numbers"),
        ({"anisotropy": (0.5, 2.0)}, "anisotropy: expected two numbers"),
        ({"noise": (0.5, 0.1)}, "noise: expected two numbers"),
    ],
)
def test_wrong_settings(arguments, words):
    with pytest.raises(ValueError, match=words):
        StackViews(**arguments)
