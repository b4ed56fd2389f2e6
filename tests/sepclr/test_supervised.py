"""Supervised SepCLR: one dimension for each attribute, missing ones left out."""

import itertools
import math

import pytest
import torch
from reference.losses_sepclr import loop_joint_entropy
from reference.sepclr_parts import batch, dataset, encoder, spec, views
from spawned import run_in_processes

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


def loop_uniformity(x):
    n = len(x)
    gaps = [float((x[i] - x[j]).square().sum()) for i in range(n) for j in range(n) if i != j]
    return math.log(math.fsum(math.exp(-gap) for gap in gaps) / (n * (n - 1)))


def loop_salient_loss(code, attribute, is_target, is_number):
    """Uniformity of one dimension and half of the pull of like attributes and of the collapse, pair by pair."""
    known = [i for i in range(len(code)) if is_target[i] and not attribute[i].isnan()]
    extent = float(attribute[known].max() - attribute[known].min())
    pull = weights = 0.0
    for i, j in itertools.combinations(known, 2):
        gap = float(attribute[i] - attribute[j])
        weight = math.exp(-((gap / extent) ** 2) / (2 * 0.025)) if is_number else float(gap == 0)
        pull, weights = pull + weight * float(code[i] - code[j]) ** 2, weights + weight
    collapse = float(code[~is_target].square().mean()) / (2 * (0.025 if is_number else 0.5))
    clamped = torch.where(is_target, code, 0.0)[:, None]
    return loop_uniformity(clamped) + (pull / weights + collapse) / 2


def test_the_loss_is_the_published_formula(rng):
    n, is_target = 14, torch.arange(14) % 3 > 0
    plain, changed = torch.nn.functional.normalize(torch.randn(2, n, 6, generator=rng, dtype=torch.float64), dim=2)
    salient = torch.randn(n, 2, generator=rng, dtype=torch.float64)
    numbers = 2 + 5 * torch.rand(n, generator=rng, dtype=torch.float64)
    age, radius, kind = torch.full((n,), torch.nan), numbers, torch.arange(n).double() % 4
    radius[5], radius[~is_target], kind[~is_target] = torch.nan, torch.nan, torch.nan
    model = make()
    known = torch.stack([age, radius, kind], dim=1)[:, model.columns]
    found = model.loss(plain, changed, salient, known, is_target)
    parts = [loop_salient_loss(salient[:, k], known[:, k], is_target, is_number=k == 0) for k in (0, 1)]
    common = float((plain - changed).square().sum(dim=1).mean())
    common += (loop_uniformity(plain) + loop_uniformity(changed)) / 2
    joint = loop_joint_entropy(plain, torch.where(is_target[:, None], salient, 0.0), (0.5, 0.5), None)
    assert found["common"].item() == pytest.approx(common, rel=1e-10)
    assert found["salient"].item() == pytest.approx(sum(parts) / 2, rel=1e-10)
    assert found["loss"].item() == pytest.approx(common + 100 * sum(parts) / 2 + 10 * float(joint), rel=1e-10)


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path):
    run_in_processes("reference.sepclr_parts", "check_supervised_equals_one_process", 2, tmp_path)


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
