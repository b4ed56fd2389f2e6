"""Regression predicts in the unit of the data, frozen or not, with or without a contrast beside it."""

import pytest
import torch

from medgraph.data.classified import ClassBatch
from medgraph.data.spec import ImageSpec
from medgraph.losses import RankNContrast, SupReMix, YAwareInfoNCE
from medgraph.method import Step
from medgraph.nn.encoders import ResNetEncoder
from medgraph.transforms.image_views import ImageViews
from medgraph.volume.regression import Regression

SPEC = ImageSpec(2, 1, (16, 16), 8, target="age, years")


def make(spec=SPEC, **arguments) -> Regression:
    torch.manual_seed(3)
    return Regression(spec, ResNetEncoder(spec, depth=18, width=4), **arguments)


def batch_of(rng, dims=2):
    """Brighter images are older: 50 to 85 years."""
    ages = 50 + 5 * torch.arange(8.0)
    images = 0.02 * torch.rand(8, 1, *(16,) * dims, generator=rng) + (ages / 100).view(-1, *(1,) * (dims + 1))
    return ClassBatch(torch.arange(8), images, ages)


def learn(method, batch, steps, lr=5e-3):
    optimizer = torch.optim.AdamW(method.parameter_groups(), lr=lr)
    method.train().on_epoch_start(Step(0, 0, 0), iter([batch]))
    for number in range(steps):
        optimizer.zero_grad()
        method(batch, Step(0, number, number))["loss"].backward()
        optimizer.step()
    return method.eval()


@pytest.mark.slow
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("error", ["absolute", "squared", "huber"])
def test_it_learns_the_number_in_its_own_unit(rng, dims, error):
    spec = ImageSpec(dims, 1, (16,) * dims, 8, target="age, years")
    batch = batch_of(rng, dims)
    method = learn(make(spec, error=error), batch, steps=120, lr=2e-3)
    found = method.predict(batch.images)[:, 0]
    assert torch.corrcoef(torch.stack([found, batch.labels]))[0, 1] > 0.9
    assert (found - batch.labels).abs().mean() < 5


def test_the_mean_is_predicted_before_anything_is_learned(rng):
    batch, method = batch_of(rng), make()
    method.on_epoch_start(Step(0, 0, 0), iter([batch, batch]))
    assert (method.center.item(), method.spread.item()) == pytest.approx((67.5, 35 / 7 * (63 / 12) ** 0.5))
    torch.nn.init.zeros_(method.head.weight)
    torch.nn.init.zeros_(method.head.bias)
    torch.testing.assert_close(method.eval().predict(batch.images), torch.full((8, 1), 67.5))
    step = method(batch, Step(0, 0, 0))
    assert step["mae"].item() == pytest.approx((batch.labels - 67.5).abs().mean().item())
    assert step["loss"].item() == pytest.approx(step["mae"].item() / method.spread.item(), rel=1e-5)


def test_equal_numbers_are_not_divided_by_zero(rng):
    method = make()
    batch = ClassBatch(torch.arange(2), torch.rand(2, 1, 16, 16, generator=rng), torch.full((2,), 3.0))
    method.on_epoch_start(Step(0, 0, 0), iter([batch]))
    assert method.spread.item() == 1
    assert method(batch, Step(0, 0, 0))["loss"].isfinite()


@pytest.mark.parametrize(
    ("loss", "views"), [(RankNContrast(), None), (SupReMix(), ImageViews()), (YAwareInfoNCE(), ImageViews())]
)
def test_the_contrast_is_added_by_its_weight(rng, loss, views):
    batch = batch_of(rng)
    found = make(auxiliary_loss=loss, views=views, auxiliary_weight=0.5).train()(batch, Step(0, 0, 0))
    assert found["loss"].item() == pytest.approx(found["error"].item() + 0.5 * found["auxiliary"].item(), rel=1e-5)
    assert found["auxiliary"].item() != 0
    found["loss"].backward()


def test_a_frozen_encoder_stays_to_the_last_bit(rng):
    method, before = make(freeze=True), make(freeze=True).state_dict()
    learn(method, batch_of(rng), steps=3)
    changed = {name for name, value in method.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"head.weight", "head.bias", "center", "spread"}
    assert len(method.parameter_groups()) == 1


def test_every_weight_is_in_one_group(rng):
    method = make(auxiliary_loss=RankNContrast(), encoder_lr_scale=0.3)
    groups = method.parameter_groups()
    assert sum(len(group["params"]) for group in groups) == len(list(method.parameters()))
    assert [group.get("lr_scale", 1.0) for group in groups] == [1.0, 0.3]


def test_what_has_no_effect_or_no_number_is_refused():
    with pytest.raises(ValueError, match="the data declare 2 classes and no number to predict"):
        make(ImageSpec(2, 1, (16, 16), 8, ("a", "b")))
    with pytest.raises(ValueError, match="auxiliary_loss: has no effect on a frozen encoder"):
        make(freeze=True, auxiliary_loss=RankNContrast())
    with pytest.raises(ValueError, match="auxiliary_loss: YAwareInfoNCE compares two views; name views"):
        make(auxiliary_loss=YAwareInfoNCE())
    with pytest.raises(ValueError, match="freeze: the encoder does not learn"):
        make(freeze=True, encoder_lr_scale=0.5)
