import pytest

from medgraph.data.spec import ImageSpec
from medgraph.transforms.crops import MultiCrop
from medgraph.transforms.image_views import ImageViews
from medgraph.transforms.segmentation_augment import SegmentationAugment
from medgraph.transforms.stack_views import StackViews
from medgraph.transforms.volume_segmentation_augment import VolumeSegmentationAugment
from medgraph.transforms.volume_views import VolumeViews
from medgraph.transforms.whole_views import check_whole_views

GRAY, COLOR, VOLUMES = ImageSpec(2, 1, (16, 16), 8), ImageSpec(2, 3, (16, 16), 8), ImageSpec(3, 1, (8, 12, 8), 8)


def test_views_of_the_kind_of_the_data_suit():
    check_whole_views(GRAY, ImageViews(size=(8, 8)))
    check_whole_views(GRAY, MultiCrop())
    check_whole_views(COLOR, ImageViews(saturation=0.4))
    check_whole_views(VOLUMES, VolumeViews(cut_probability=0.5))


@pytest.mark.parametrize(
    ("spec", "views", "message"),
    [
        (
            VOLUMES,
            ImageViews(),
            r"expected images \(c, h, w\), got examples of shape \(1, 8, 12, 8\); use volume_views",
        ),
        (GRAY, VolumeViews(), r"expected volumes \(c, d, h, w\), got examples of shape \(1, 16, 16\); use image_views"),
        (GRAY, ImageViews(saturation=0.4), "saturation, gray_probability: are for 3 channels, the images have 1"),
        (VOLUMES, StackViews(), "StackViews are for stacks of slices, expected views of single volumes"),
        (GRAY, SegmentationAugment(), "expected views of images alone, got SegmentationAugment"),
    ],
)
def test_other_views_are_refused(spec, views, message):
    with pytest.raises(ValueError, match=f"views: {message}"):
        check_whole_views(spec, views)


@pytest.mark.parametrize(
    ("spec", "views", "fit", "name"),
    [
        (GRAY, ImageViews(), SegmentationAugment(), "segmentation_augment"),
        (VOLUMES, VolumeViews(), VolumeSegmentationAugment(), "volume_segmentation_augment"),
    ],
)
def test_what_leaves_labels_as_they_are_does_not_augment_label_maps(spec, views, fit, name):
    check_whole_views(spec, fit, "transform", labelled=True)
    with pytest.raises(ValueError, match=f"transform: expected an augmentation .* and their label maps, {name}, got"):
        check_whole_views(spec, views, "transform", labelled=True)
