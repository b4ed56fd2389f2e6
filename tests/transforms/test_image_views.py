"""ImageViews: draws by id, geometry and intensity, and what they destroy."""

import pytest
import torch

from medgraph.transforms.image_views import ImageViews

IDS = torch.tensor([3, 8, 21])


def still(**changes):
    """Views that change nothing but what is asked."""
    settings = {"area": (1.0, 1.0), "aspect": 1.0, "brightness": 0.0, "contrast": 0.0, "noise": 0.0}
    return ImageViews(**{**settings, **changes})


def views_of(views, images, ids=IDS, epoch=0):
    return views.apply(images, views.draw(5, epoch, ids, images.shape[1:]))


def test_without_changes_both_views_are_the_image(rng):
    images = torch.rand(3, 3, 12, 10, generator=rng)
    for view in views_of(still(), images):
        torch.testing.assert_close(view, images, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "changes",
    [
        {"area": (0.5, 0.6)},
        {"aspect": 1.5},
        {"rotation": 30.0},
        {"brightness": 0.3},
        {"contrast": 0.5},
        {"blur_probability": 1.0},
        {"noise": 0.2},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_each_setting_alone_changes_the_views(changes, rng):
    images = torch.rand(12, 1, 12, 10, generator=rng)
    for view in views_of(still(change_probability=1.0, **changes), images, torch.arange(12)):
        assert (view - images).abs().mean() > 0.005


def test_a_flip_mirrors_left_and_right(rng):
    images = torch.rand(3, 1, 12, 10, generator=rng)
    for view in views_of(still(flip_probability=1.0), images):
        torch.testing.assert_close(view, images.flip(3), atol=1e-5, rtol=0)


def test_an_example_depends_on_seed_epoch_and_id_alone(rng):
    images = torch.rand(3, 1, 12, 12, generator=rng)
    views = ImageViews(rotation=15.0, flip_probability=0.5, blur_probability=0.5)
    whole = views_of(views, images)
    alone = views_of(views, images[1:2], IDS[1:2])
    for view in range(2):
        torch.testing.assert_close(whole[view][1:2], alone[view])
    assert not torch.equal(whole[0], whole[1])
    assert not torch.equal(whole[0], views_of(views, images, epoch=1)[0])


def test_size_of_a_view(rng):
    first, second = views_of(ImageViews(size=(8, 6)), torch.rand(3, 1, 12, 12, generator=rng))
    assert first.shape == second.shape == (3, 1, 8, 6)


def test_gray_views_have_equal_channels(rng):
    images = torch.rand(3, 3, 8, 8, generator=rng)
    view = views_of(still(gray_probability=1.0), images)[0]
    torch.testing.assert_close(view[:, :1].expand_as(view), view)
    colored = views_of(still(saturation=0.9), images)[0]
    assert not torch.allclose(colored, images)


def test_color_of_gray_images_is_refused(rng):
    with pytest.raises(ValueError, match="are for 3 channels, the images have 1; set both to 0"):
        views_of(ImageViews(saturation=0.4), torch.rand(3, 1, 8, 8, generator=rng))


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"flip_probability": 0.5}, "side"),
        ({"flip_probability": 0.5}, "x"),  # a mirror takes the sign of a place along the columns, and of an angle
        ({"flip_probability": 0.5}, "rotation"),
        ({"rotation": 45.0}, "rotation"),
        ({"area": (0.2, 1.0)}, "scale"),
        ({"area": (0.5, 1.0)}, "position"),
        ({"brightness": 0.3}, "intensity"),
        ({"gray_probability": 0.2}, "color"),
    ],
)
def test_says_what_it_destroys(changes, word):
    assert word in still(**changes).randomises
    assert still().randomises == ()


def test_refuses_wrong_arguments():
    with pytest.raises(ValueError, match=r"area: expected two numbers, the smaller first within \[0.01, 1.0\]"):
        ImageViews(area=(0.5, 2.0))
    with pytest.raises(ValueError, match=r"aspect: expected 1\.0 or more"):
        ImageViews(aspect=0.5)
    with pytest.raises(ValueError, match="size: expected 1 or more, got 0"):
        ImageViews(size=(0, 8))


def test_volumes_are_refused(rng):
    with pytest.raises(ValueError, match=r"expected images \(c, h, w\), got examples of shape \(1, 6, 7, 8\)"):
        views_of(ImageViews(), torch.rand(3, 1, 6, 7, 8, generator=rng))
