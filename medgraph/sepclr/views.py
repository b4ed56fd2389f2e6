"""What SepCLR's methods ask of views: two whole copies of each example, of which is known what they randomise."""

from typing import Any

from medgraph.data.spec import ImageSpec
from medgraph.transforms.whole_views import check_whole_views


def check_views(spec: ImageSpec, views: Any) -> None:
    """Raise ValueError where `views` do not suit examples as `spec` has them, before any is read."""
    check_whole_views(spec, views)
    if not hasattr(views, "randomises"):
        fit = "image_views" if spec.spatial_dims == 2 else "volume_views"
        raise ValueError(f"views: {type(views).__name__} gives no two views of each whole example, expected {fit}.")
