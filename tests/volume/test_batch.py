import pytest
import torch

from medgraph.data.batches import StackBatch
from medgraph.data.spec import ImageSpec
from medgraph.method import Step
from medgraph.transforms.image_views import ImageViews
from medgraph.transforms.stack_views import StackViews
from medgraph.volume.batch import make_views, require_slices


def spec(fewest: int = 7, num_volumes: int = 4) -> ImageSpec:
    return ImageSpec(2, 1, (8, 8), num_volumes, num_volumes=num_volumes, num_slices=(fewest, 12) if num_volumes else ())


def test_slices_of_both_views_carry_one_id_each(rng):
    valid = torch.arange(6) < torch.tensor([6, 4])[:, None]
    numbers = torch.where(valid, torch.arange(12).reshape(2, 6), -1)
    batch = StackBatch(torch.tensor([3, 1]), torch.rand(2, 6, 1, 8, 8), valid, numbers, torch.tensor([0, 1]))
    views = make_views(StackViews(num_slices=5, allow_short=True), batch, Step(0, 0, 0))
    assert views.views.shape == (2, 2, 5, 1, 8, 8)
    assert views.numbers[1].tolist() == [6, 7, 8, 9, -1]
    first = int(views.index[0, 0])
    assert views.numbers[0].tolist() == list(range(first, first + 5))
    flat, flat_valid = views.flat()
    assert torch.equal(flat[2:], views.views[1])
    assert flat_valid.sum(dim=1).tolist() == [5, 4, 5, 4]


@pytest.mark.parametrize(
    ("views", "fewest"),
    [
        (StackViews(), 7),
        (StackViews(stride=2), 3),
        (StackViews(num_slices=5), 5),
        (StackViews(num_slices=9, allow_short=True), 7),
    ],
    ids=range(4),
)
def test_the_fewest_slices_of_a_view_are_known_beforehand(views, fewest):
    assert require_slices(spec(), views) == fewest


@pytest.mark.parametrize("length", [1, 2, 3, 6, 7])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("num_slices", [None, 1, 2, 5])
def test_no_view_has_fewer_slices_and_some_view_has_as_many(length, stride, num_slices):
    views = StackViews(num_slices=num_slices, stride=stride, allow_short=True)
    ids, lengths = torch.arange(200), torch.full((200,), length)
    shown = views.window(lengths, {"start": views.draw_start(0, 0, ids, lengths)})[1].sum(dim=1)
    assert require_slices(spec(length), views) == int(shown.min())


def test_volumes_with_fewer_slices_than_asked_are_refused():
    with pytest.raises(ValueError, match="4 slices with stride 3 span 10, but the shortest training volume has 7"):
        require_slices(spec(), StackViews(num_slices=4, stride=3))


def test_data_without_volumes_is_refused():
    with pytest.raises(ValueError, match="the data hands out no volumes"):
        require_slices(spec(num_volumes=0), StackViews())


def test_views_of_single_images_are_refused():
    with pytest.raises(
        ValueError, match="views: ImageViews are for single images or volumes, expected views of stacks"
    ):
        require_slices(spec(), ImageViews())
