"""Supervised SepCLR: one dimension for each attribute, missing ones left out."""

import pytest
import torch
from reference.sepclr_parts import batch, dataset, encoder, spec, views

from medgraph.losses.kernel_joint_entropy import KernelJointEntropy
from medgraph.method import Step
from medgraph.sepclr.supervised import SupervisedSepCLR
from medgraph.transforms.image_views import ImageViews

NAMES = ("age", "radius", "kind")


def make(salient_dim=2, **settings):
    torch.manual_seed(0)
    settings = {"number_attributes": ("radius",), "category_attributes": ("kind",), **settings}
    both = encoder(salient_dim=salient_dim)
    return SupervisedSepCLR(spec(attributes=NAMES), both, views(), KernelJointEntropy(), hidden_dim=8, **settings)


@pytest.mark.filterwarnings("ignore:all . examples have no other of like attribute")  # categories drawn at random
def test_a_step_reaches_both_encoders():
    model = make()
    outputs = model(batch(attributes=3), Step(0, 0, 0))
    outputs["loss"].backward()
    assert set(outputs) == {"loss", "common", "salient", "independence"}
    for part in (model.encoder.common, model.encoder.salient, model.common_projector):
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in part.parameters() if p.ndim > 1)


def test_a_dimension_that_follows_its_attribute_costs_less(rng):
    model = make(salient_dim=1, category_attributes=())
    is_target = torch.arange(60) >= 30
    plain, changed = torch.nn.functional.normalize(torch.randn(2, 60, 6, generator=rng), dim=2)
    radius = torch.rand(60, 1, generator=rng) * 4 + 3
    code = torch.where(is_target[:, None], 1 + 2 * (radius - 3) / 4, 0.0)
    shuffled = code.clone()
    shuffled[30:] = shuffled[30:][torch.randperm(30, generator=rng)]
    costs = [model.loss(plain, changed, s, radius, is_target)["salient"].item() for s in (code, shuffled)]
    assert costs[0] < costs[1]


@pytest.mark.filterwarnings("ignore:all . examples have no other of like attribute")  # categories drawn at random
def test_unknown_attributes_take_no_part():
    model = make()
    known = batch(attributes=3)
    known.attributes[7, 1] = torch.nan
    outputs = model(known, Step(0, 0, 0))
    outputs["loss"].backward()
    assert outputs["loss"].isfinite()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_the_range_of_numbers_grows_and_survives_in_the_state():
    model = make()
    scaled = model._scaled(torch.tensor([[2.0, 1.0], [4.0, 2.0], [torch.nan, 0.0]]))
    assert scaled[:2, 0].tolist() == [0, 1]
    assert scaled[:, 1].tolist() == [1, 2, 0]  # categories stay
    assert model._scaled(torch.tensor([[6.0, 0.0]]))[0, 0] == 1
    assert model.state_dict()["low"][0] == 2


def test_codes_keep_one_salient_dimension_for_each_attribute():
    model = make().eval()
    features = model.encoder.parts(batch().images)
    codes = model.codes(*features)
    assert torch.equal(codes.salient, features.salient)
    torch.testing.assert_close(codes.common.norm(dim=1), torch.ones(12))
    assert model.attribute_names == ("radius", "kind")


def test_a_destroyed_attribute_is_warned_of():
    with pytest.warns(UserWarning, match="attribute 'side' is probed, but the views randomise side"):
        flipped(names=("side", "kind"), category_attributes=("kind",))


def test_an_attribute_that_is_trained_on_plain_images_is_not_destroyed_by_views():
    flipped(names=("side", "kind"), category_attributes=("side",))  # warnings are errors here


def flipped(names, **settings):
    views = ImageViews(flip_probability=0.5)
    return SupervisedSepCLR(spec(attributes=names), encoder(salient_dim=1), views, KernelJointEntropy(), **settings)


def test_batches_hold_both_groups():
    batches = make().epoch_batches(dataset(20), 8, 0, 0)
    assert all(int(dataset(20).is_target[rows].sum()) == 4 for rows in batches)


def test_refuses_wrong_arguments():
    with pytest.raises(ValueError, match="expected some of age, radius, kind, got size"):
        make(number_attributes=("size",))
    with pytest.raises(ValueError, match="expected some of age, radius, kind, got none"):
        make(number_attributes=(), category_attributes=())
    with pytest.raises(ValueError, match="'kind' is named twice, expected each once, as one of both"):
        make(number_attributes=("kind",))
    with pytest.raises(ValueError, match="salient_dim is 3, expected 2, one per attribute"):
        make(salient_dim=3)


def test_views_of_another_size_than_the_plain_images_are_refused():
    settings = {"number_attributes": ("age",)}
    plain = [spec(attributes=("age",)), encoder(salient_dim=1)]
    SupervisedSepCLR(*plain, ImageViews(size=(16, 16)), KernelJointEntropy(), **settings)
    with pytest.raises(ValueError, match=r"views: size is \(8, 8\), expected none or \(16, 16\), that of the images"):
        SupervisedSepCLR(*plain, ImageViews(size=(8, 8)), KernelJointEntropy(), **settings)
