import pytest
import torch

from medgraph.transforms.segmentation_augment import SegmentationAugment

STILL = {
    "rotation": 0.0,
    "scale": (1.0, 1.0),
    "shift": 0.0,
    "brightness": 0.0,
    "contrast": 0.0,
    "gamma": (1.0, 1.0),
    "noise": 0.0,
}
IDS = torch.arange(6)


def square():
    labels = torch.zeros(6, 40, 24, dtype=torch.long)
    labels[:, 10:26, 6:16] = 2
    return (labels[:, None] > 0).float() * 0.6, labels


def test_images_and_labels_move_together():
    images, labels = square()
    transform = SegmentationAugment(
        **{**STILL, "rotation": 30.0, "scale": (0.8, 1.2), "shift": 0.1, "flip_probability": 0.5}
    )
    moved, moved_labels = transform.apply(images, labels, transform.draw(1, 2, IDS, images.shape[1:]))
    assert ((moved[:, 0] > 0.3) == (moved_labels == 2)).float().mean() > 0.99
    assert not torch.equal(moved_labels, labels)
    assert set(moved_labels.unique().tolist()) == {0, 2}


def test_an_elastic_deformation_bends_images_and_labels_alike():
    images, labels = square()
    transform = SegmentationAugment(**{**STILL, "elastic": 0.1})
    record = transform.draw(1, 2, IDS, images.shape[1:])
    moved, moved_labels = transform.apply(images, labels, record)
    assert ((moved[:, 0] > 0.3) == (moved_labels == 2)).float().mean() > 0.99
    places = [(mask > 0).nonzero().float().mean(dim=0) for mask in moved_labels]
    assert torch.stack(places).std(dim=0).min() > 0.2  # each example in its own way
    rows = [(mask > 0).sum(dim=1).unique().numel() for mask in moved_labels]
    assert min(rows) > 2  # and no longer a rectangle, whose rows are all empty or equal
    assert record["points"].abs().max() == pytest.approx(0.2, rel=0.02)  # of the 2 that a side is long
    stacks = transform.draw_stacks(1, 2, IDS, images.shape[1:], 3)["points"]
    assert torch.equal(stacks, record["points"].repeat_interleave(3, dim=0))


def test_nothing_asked_for_is_the_identity():
    images, labels = square()
    transform = SegmentationAugment(**STILL)
    moved, moved_labels = transform.apply(images, labels, transform.draw(1, 2, IDS, images.shape[1:]))
    torch.testing.assert_close(moved, images, rtol=0, atol=1e-5)
    assert torch.equal(moved_labels, labels)


@pytest.mark.parametrize(
    "changes",
    [{"brightness": 0.3}, {"contrast": 0.5}, {"gamma": (1.5, 2.0)}, {"noise": 0.2}],
    ids=lambda changes: next(iter(changes)),
)
def test_each_change_of_the_values_alone_leaves_labels(changes):
    images, labels = square()
    transform = SegmentationAugment(**{**STILL, **changes})
    changed, kept = transform.apply(images, labels, transform.draw(1, 2, IDS, images.shape[1:]))
    assert (changed - images).abs().mean() > 0.005
    assert torch.equal(kept, labels)


def test_a_rotation_keeps_areas_on_slices_that_are_not_square():
    images, labels = square()
    transform = SegmentationAugment(**{**STILL, "rotation": 20.0})
    _, moved = transform.apply(images, labels, transform.draw(1, 2, IDS, images.shape[1:]))
    assert (moved > 0).sum(dim=(1, 2)).float().mean() == pytest.approx(160, rel=0.03)


def test_the_same_id_gets_the_same_change():
    transform = SegmentationAugment(elastic=0.05)
    whole = transform.draw(5, 1, IDS, (1, 40, 24))
    part = transform.draw(5, 1, IDS[[4, 1]], (1, 40, 24))
    for name in whole:
        assert torch.equal(whole[name][[4, 1]], part[name])


def test_volumes_are_refused():
    with pytest.raises(ValueError, match=r"expected slices \(c, h, w\), got examples of shape \(1, 8, 8, 8\)"):
        SegmentationAugment().draw(0, 0, IDS, (1, 8, 8, 8))
