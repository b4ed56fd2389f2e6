"""What SepCLR's methods ask of views is known before an example is read."""

import pytest
from reference.sepclr_parts import encoder, spec

from medgraph.losses.nt_xent import NTXent
from medgraph.sepclr.sepclr import SepCLR
from medgraph.sepclr.simclr import SimCLR
from medgraph.transforms.crops import MultiCrop
from medgraph.transforms.image_views import ImageViews
from medgraph.transforms.volume_views import VolumeViews


@pytest.mark.parametrize(
    ("dims", "views", "message"),
    [
        (3, ImageViews(), r"views: expected images \(c, h, w\), got examples of shape \(1, 8, 12, 8\)"),
        (2, VolumeViews(), r"views: expected volumes \(c, d, h, w\), got examples of shape \(1, 16, 16\)"),
        (2, MultiCrop(), "views: MultiCrop gives no two views of each whole example, expected image_views"),
    ],
)
def test_views_that_do_not_suit_are_refused(dims, views, message):
    with pytest.raises(ValueError, match=message):
        SepCLR(spec(dims), encoder(dims), views, independence_weight=0.0)
    with pytest.raises(ValueError, match=message):
        SimCLR(spec(dims), encoder(dims), views, NTXent())
