import pytest
import torch
from reference.contrast_files import write_digits

from medgraph.data.shapes_over_digits import ShapesOverDigitsData, draw_shapes
from medgraph.errors import DataError


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("contrastive")
    write_digits(folder / "mnist")
    return str(folder)


@pytest.mark.parametrize("size", [32, 64])
def test_targets_differ_from_background_by_a_shape(root, size):
    train = ShapesOverDigitsData(root, size=size, num_examples=30, num_test=5).train()
    batch = train.__getitems__(range(60))
    assert batch.images.shape == (60, 1, size, size)
    assert batch.images.min() >= 0
    assert batch.images.max() <= 1
    means = batch.images.mean(dim=(1, 2, 3))
    assert means[batch.is_target].min() > means[~batch.is_target].max()
    assert batch.attributes[~batch.is_target, :5].isnan().all()


def test_an_example_never_changes(root):
    sets = [ShapesOverDigitsData(root, num_examples=30, num_test=5) for _ in range(2)]
    assert torch.equal(*(data.train().__getitems__([3, 50]).images for data in sets))
    assert sets[0].spec.num_examples == len(sets[0].train()) == 60
    assert len(sets[0].test()) == 10


def test_validation_draws_on_training_digits_that_were_kept_aside(root):
    settings = {"num_examples": 20, "num_test": 10}
    plain = ShapesOverDigitsData(root, **settings)
    data = ShapesOverDigitsData(root, validation_share=0.3, **settings)
    assert len(data.validation()) == len(data.test()) == 20
    assert torch.equal(data.test().__getitems__([0, 15]).images, plain.test().__getitems__([0, 15]).images)
    assert not torch.equal(data.validation().attributes, data.test().attributes)
    with pytest.raises(DataError, match="shapes_over_digits: nothing is kept aside for validation"):
        plain.validation()


@pytest.mark.parametrize(("share", "part"), [(0.001, "validation"), (1.0, "train")])
def test_too_few_digits_for_a_grid_are_refused(root, share, part):
    data = ShapesOverDigitsData(root, num_examples=5, num_test=5, validation_share=share)
    with pytest.raises(DataError, match=rf"shapes_over_digits, {part}: [01] digits of class 0, expected 4 for a grid"):
        getattr(data, part)()


def test_a_shape_lies_where_its_factors_say():
    factors = torch.tensor([[0, 0.2, 0.0, 0.25, -0.1], [1, 0.2, 0.5, -0.2, 0.2], [2, 0.2, 0.0, 0.0, 0.0]])
    drawn = draw_shapes(factors, 64)[:, 0]
    place = (torch.arange(64) + 0.5) / 64 - 0.5
    for image, (_, _, _, x, y) in zip(drawn, factors.tolist(), strict=True):
        mass = image.sum()
        assert float((image.sum(dim=0) * place).sum() / mass) == pytest.approx(x, abs=0.05)
        assert float((image.sum(dim=1) * place).sum() / mass) == pytest.approx(y, abs=0.05)
    small, large = draw_shapes(torch.tensor([[0, 0.1, 0, 0, 0], [0, 0.2, 0, 0, 0]]), 64)
    assert float(large.sum() / small.sum()) == pytest.approx(4, rel=0.1)
    assert len({round(float(image.sum())) for image in drawn}) == 3


def test_refuses_wrong_arguments():
    with pytest.raises(ValueError, match="size: expected one of 32, 64, got 48"):
        ShapesOverDigitsData("x", size=48)
