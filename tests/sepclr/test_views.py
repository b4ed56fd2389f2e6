"""What SepCLR's methods ask of views is known before an example is read, and told by the key."""

import pytest
from reference.sepclr_parts import encoder, spec

from medgraph.data.spec import ImageSpec
from medgraph.losses.nt_xent import NTXent
from medgraph.sepclr.sepclr import SepCLR
from medgraph.sepclr.simclr import SimCLR
from medgraph.sepclr.views import check_views
from medgraph.transforms.crops import MultiCrop
from medgraph.transforms.image_views import ImageViews
from medgraph.transforms.stack_views import StackViews
from medgraph.transforms.volume_views import VolumeViews


def test_views_of_the_kind_of_the_data_suit():
    check_views(spec(2), ImageViews(size=(8, 8)))
    check_views(spec(3), VolumeViews())
    check_views(ImageSpec(2, 3, (16, 16), 64), ImageViews(saturation=0.4))


@pytest.mark.parametrize(
    ("dims", "views", "message"),
    [
        (
            3,
            ImageViews(),
            r"views: expected images \(c, h, w\), got examples of shape \(1, 8, 12, 8\); use volume_views",
        ),
        (
            2,
            VolumeViews(),
            r"views: expected volumes \(c, d, h, w\), got examples of shape \(1, 16, 16\); use image_views",
        ),
        (2, ImageViews(saturation=0.4), "views: saturation, gray_probability: are for 3 channels, the images have 1"),
        (2, MultiCrop(), "views: MultiCrop gives no two views of each whole example, expected image_views"),
        (3, StackViews(), "views: StackViews gives no two views of each whole example, expected volume_views"),
    ],
)
def test_other_views_are_refused(dims, views, message):
    with pytest.raises(ValueError, match=message):
        SepCLR(spec(dims), encoder(dims), views, independence_weight=0.0)
    with pytest.raises(ValueError, match=message):
        SimCLR(spec(dims), encoder(dims), views, NTXent())
