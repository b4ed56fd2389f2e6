import pytest
import torch

from medgraph.transforms.volume_segmentation_augment import VolumeSegmentationAugment

STILL = {"rotation": 0, "scale": (1, 1), "shift": 0}


@pytest.mark.parametrize("moves", [{}, {**STILL, "elastic": 0.1}])
def test_labels_move_with_the_volume(rng, moves):
    augment = VolumeSegmentationAugment(brightness=0, contrast=0, gamma=(1, 1), noise=0, flip_axis=0, **moves)
    labels = torch.zeros(4, 16, 18, 20, dtype=torch.long)
    labels[:, 3:9, 4:12, 5:11] = 1
    ids = torch.arange(4)
    record = augment.draw(1, 2, ids, (1, 16, 18, 20))
    images, moved = augment.apply(labels[:, None].float(), labels, record)
    assert ((images[:, 0] > 0.5).long() == moved).float().mean() > 0.99
    assert (moved != labels).any()
    assert moved.dtype == torch.long


def test_a_draw_depends_on_seed_epoch_and_id_alone():
    augment = VolumeSegmentationAugment(elastic=0.05)
    one = augment.draw(1, 2, torch.tensor([5, 9]), (1, 8, 8, 8))
    two = augment.draw(1, 2, torch.tensor([9]), (1, 8, 8, 8))
    other = augment.draw(1, 3, torch.tensor([9]), (1, 8, 8, 8))
    for key, value in one.items():
        assert torch.equal(value[1:], two[key])
        assert not torch.equal(two[key], other[key])


def test_intensities_change_and_labels_do_not(rng):
    augment = VolumeSegmentationAugment(**STILL)
    labels = torch.randint(0, 3, (2, 6, 6, 6), generator=rng)
    images = torch.rand(2, 1, 6, 6, 6, generator=rng)
    views, moved = augment.apply(images, labels, augment.draw(1, 2, torch.arange(2), (1, 6, 6, 6)))
    assert torch.equal(moved, labels)
    assert not torch.allclose(views, images)


def test_slices_are_refused():
    with pytest.raises(ValueError, match=r"expected volumes \(c, d, h, w\), got examples of shape \(1, 8, 8\)"):
        VolumeSegmentationAugment().draw(0, 0, torch.arange(2), (1, 8, 8))
