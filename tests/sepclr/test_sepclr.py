"""SepCLR: where gradients go, what the loss is made of, one and several processes, 2D and 3D."""

import warnings

import pytest
import torch
from reference.sepclr_parts import batch, encoder, method, spec, views
from spawned import run_in_processes

from medgraph.data.batches import GroupedImageBatch
from medgraph.losses.hsic import HSIC
from medgraph.losses.mmd import MMD
from medgraph.losses.total_correlation import TotalCorrelation
from medgraph.losses.vclub import VCLUB
from medgraph.losses.vub import VUB
from medgraph.method import Step
from medgraph.runner.grad_cache import encoder_in_chunks
from medgraph.sepclr.batch import Codes
from medgraph.sepclr.sepclr import SepCLR
from medgraph.transforms.image_views import ImageViews

STEP = Step(1, 0, 0)


def codes(rng, n=12, scale=1.0):
    common, salient = torch.randn(2 * n, 6, generator=rng), scale * torch.randn(2 * n, 4, generator=rng)
    made = Codes.of_views(common, salient.requires_grad_(), torch.arange(n) >= n // 2)
    return made, salient


def norm(parameters):
    return sum(float(p.grad.abs().sum()) for p in parameters if p.grad is not None)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_step_reaches_both_encoders_and_projectors(dims):
    model = method(dims)
    outputs = model(batch(dims), STEP)
    outputs["loss"].backward()
    assert outputs["loss"].isfinite()
    for part in (model.encoder.common, model.encoder.salient, model.common_projector, model.salient_projector):
        assert norm(part.parameters()) > 0


def test_the_loss_is_the_weighted_sum_of_its_terms(rng):
    model = method(uniformity_weight=1.5, salient_weight=3.0, collapse_weight=7.0, independence_weight=11.0)
    found = model.loss(codes(rng)[0])
    expected = found["common_alignment"] + 1.5 * found["common_uniformity"] + 7 * found["collapse"]
    expected += 3 * (found["salient_alignment"] + 1.5 * found["salient_uniformity"]) + 11 * found["independence"]
    torch.testing.assert_close(found["loss"], expected)


def test_without_independence_no_salient_gradient_reaches_the_common_encoder():
    model = method(independence_weight=0.0)
    outputs = model(batch(), STEP)
    (outputs["salient_alignment"] + outputs["salient_uniformity"] + outputs["collapse"]).backward()
    assert all(p.grad is None for p in model.encoder.common.parameters())
    assert not outputs["independence"].requires_grad
    assert norm(model.encoder.salient.parameters()) > 0


@pytest.mark.parametrize(("stop", "still"), [("common", "common"), ("salient", "salient")])
def test_stop_gradient_holds_one_code(stop, still):
    model = method(stop_gradient=stop)
    model(batch(), STEP)["independence"].backward()
    moved = "salient" if still == "common" else "common"
    assert norm(getattr(model.encoder, still).parameters()) == 0
    assert norm(getattr(model.encoder, moved).parameters()) > 0


def test_each_encoder_may_have_its_own_strength():
    whole, gradients = batch(), {}
    double = GroupedImageBatch(whole.ids, whole.images.double(), whole.is_target, whole.attributes)
    for name, settings in {
        "same": {"independence_weight": 10.0},
        "own": {"independence_weight": 10.0, "salient_independence_weight": 2.0},
        "none": {"independence_weight": 0.0},
    }.items():
        model = method(**settings).double()
        model(double, STEP)["loss"].backward()
        gradients[name] = {
            side: torch.cat([p.grad.flatten() for p in getattr(model.encoder, side).parameters()])
            for side in ("common", "salient")
        }
    torch.testing.assert_close(gradients["own"]["common"], gradients["same"]["common"], rtol=0, atol=1e-9)
    own, none, same = (gradients[name]["salient"] for name in ("own", "none", "same"))
    assert (same - none).abs().max() > 1e-3
    torch.testing.assert_close(own - none, 0.2 * (same - none), rtol=0, atol=1e-9)


@pytest.mark.parametrize("term", [VUB, MMD])
def test_settings_of_the_salient_code_are_refused_of_a_term_that_leaves_it_alone(term):
    model = method(term=term())
    model(batch(), STEP)["independence"].backward()
    assert norm(model.encoder.common.parameters()) > 0
    assert norm(model.encoder.salient.parameters()) == 0
    method(term=term(), stop_gradient="salient")
    with pytest.raises(ValueError, match=f"salient_independence_weight: .* as {term.__name__} moves the common code"):
        method(term=term(), salient_independence_weight=1.0)
    with pytest.raises(ValueError, match=f"stop_gradient: .* as {term.__name__} moves the common code"):
        method(term=term(), stop_gradient="common")


def test_the_ramp_grows_linearly(rng):
    model, plain = method(ramp_steps=10), method()
    made = codes(rng)[0]
    rest = plain.loss(made)["loss"] - 10 * plain.loss(made)["independence"]
    for step, share in ((0, 0.1), (4, 0.5), (9, 1.0), (50, 1.0)):
        added = model.loss(made, step)["loss"] - rest
        torch.testing.assert_close(added, share * 10 * plain.loss(made)["independence"], rtol=1e-4, atol=1e-4)


def test_background_reaches_the_salient_code_through_the_collapse_alone(rng):
    made, salient = codes(rng)
    model = method()
    background = ~made.is_target.repeat(2)
    found = model.loss(made)
    for name in ("salient_alignment", "salient_uniformity", "independence"):
        (gradient,) = torch.autograd.grad(found[name], salient, retain_graph=True)
        assert (gradient[background] == 0).all()
        assert (gradient[~background] != 0).any()
    (gradient,) = torch.autograd.grad(found["collapse"], salient)
    assert (gradient[~background] == 0).all()
    assert (gradient[background] != 0).any(dim=1).all()


def test_the_order_of_examples_and_views_does_not_matter(rng):
    made, _ = codes(rng)
    order = torch.randperm(12, generator=rng)
    swapped = Codes(made.common[::-1], made.salient[::-1], made.is_target)
    moved = Codes(tuple(c[order] for c in made.common), tuple(s[order] for s in made.salient), made.is_target[order])
    for other in (swapped, moved):
        torch.testing.assert_close(method().loss(other)["loss"], method().loss(made)["loss"])


@pytest.mark.parametrize("form", ["batch", "target"])
def test_finite_at_a_large_scale(form, rng):
    made, salient = codes(rng, scale=100.0)
    found = method(salient_form=form).loss(made)
    found["loss"].backward()
    assert found["loss"].isfinite()
    assert salient.grad.isfinite().all()
    assert found["self_share"] > 0.5
    assert found["target_norm"] > 10


@pytest.mark.parametrize("term", [VCLUB, TotalCorrelation, HSIC])
def test_other_terms_train_beside_the_codes(term):
    model = method(term=term())
    model(batch(), STEP)["loss"].backward()
    assert all(p.grad is not None for p in model.independence_loss.parameters())
    assert norm(model.encoder.common.parameters()) > 0


def test_same_step_same_loss():
    losses = [method()(batch(), Step(5, 2, 9))["loss"].item() for _ in range(2)]
    assert losses[0] == losses[1]


def test_codes_are_what_the_losses_see():
    model = method().eval()
    images = batch().images
    features = model.encoder.parts(images)
    found = model.codes(*features)
    torch.testing.assert_close(found.common.norm(dim=1), torch.ones(12))
    expected = Codes.of_views(
        model.common_projector(features.common).repeat(2, 1), found.salient.repeat(2, 1), batch().is_target
    )
    torch.testing.assert_close(found.common, expected.common[0])
    torch.testing.assert_close(found.salient, model.salient_projector(features.salient))


def test_the_term_may_be_left_out():
    model = SepCLR(spec(), encoder(), views(), independence_weight=0.0)
    assert "independence" not in model(batch(), STEP)
    with pytest.raises(ValueError, match="independence_loss: none is given, so independence_weight has no effect"):
        SepCLR(spec(), encoder(), views())


def test_a_destroyed_attribute_is_warned_of():
    with pytest.warns(UserWarning, match="attribute 'side' is probed, but the views randomise side"):
        SepCLR(spec(attributes=("side",)), encoder(), ImageViews(flip_probability=0.5), independence_weight=0.0)


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path):
    run_in_processes("reference.sepclr_parts", "check_equals_one_process", 2, tmp_path)


@pytest.mark.slow
def test_every_process_holds_both_groups_and_no_example_of_another(tmp_path):
    run_in_processes("reference.sepclr_parts", "check_each_process_holds_both_groups", 2, tmp_path)


def test_chunks_of_the_encoder_give_the_gradient_of_the_whole_batch():
    found = []
    for chunks in (1, 3):
        model = method().double()
        for module in model.encoder.modules():
            if isinstance(module, torch.nn.BatchNorm2d):  # its statistics would be those of a chunk
                module.eval()
        whole = batch()
        double = GroupedImageBatch(whole.ids, whole.images.double(), whole.is_target, whole.attributes)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of batch norm
            with encoder_in_chunks(model, chunks, "test"):
                model(double, STEP)["loss"].backward()
        found.append([p.grad for p in model.parameters()])
    torch.testing.assert_close(*found, rtol=0, atol=1e-10)


def test_refuses_wrong_arguments():
    with pytest.raises(ValueError, match="stop_gradient: expected one of 'none', 'common', 'salient', got 'both'"):
        method(stop_gradient="both")
    with pytest.raises(ValueError, match="salient_independence_weight: has no effect beside stop_gradient"):
        method(stop_gradient="common", salient_independence_weight=1.0)
    with pytest.raises(ValueError, match="salient_independence_weight: expected 0 or more, got -1"):
        method(salient_independence_weight=-1.0)
    with pytest.raises(ValueError, match=r"^alignment_bandwidth: expected a number above 0, got 0"):
        method(alignment_bandwidth=0.0)
    with pytest.raises(ValueError, match="'target_without_self' has no floor"):
        method(salient_form="target_without_self")
