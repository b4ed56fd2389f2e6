"""What every loss of the catalogue refuses, whatever its kind, and what it says of a batch that gives it nothing."""

import inspect

import jaxtyping
import pytest
import torch
from reference.contrastive_cases import CASES
from reference.plain_cases import PLAIN

from medgraph import catalogue

NAMES = list(catalogue.TABLES["losses"])
ABOVE_ZERO = [
    (name, setting)
    for name in PLAIN
    for setting in ("temperature", "bandwidth", "common_bandwidth", "salient_bandwidth")
    if setting in inspect.signature(catalogue.find("losses", name)).parameters
    and (name, setting) not in {("kernel_joint_entropy", "bandwidth"), ("attribute_alignment", "bandwidth")}
]  # of these two one is a word, and of the other 0 asks for equality
NEVER_EMPTY = {  # as every anchor has a positive of its own, and needs no negative
    "info_nce", "nt_xent", "sigmoid_pair", "y_aware_info_nce", "inverse_propensity", "adaptive_info_nce", "mv_info_nce",
    "alignment", "uniformity", "alignment_uniformity", "joint_entropy", "kernel_joint_entropy", "vclub", "vl1out",
    "vub", "total_correlation", "pearson", "rank_divergence",
}  # fmt: skip
SINGLE = ["dcl", "dclw", "debiased_nt_xent", "quantile_negatives", "false_negative_removal", "mv_dhel", "replay",
          "mean_normalized_negatives", "rank_n_contrast", "relational_distillation"]  # fmt: skip
EACH_ITS_OWN, NO_LABEL, ONE_LABEL = torch.arange(6), torch.full((6,), -100), torch.zeros(6, 2, dtype=torch.long)
REST = {  # what follows the embeddings, for losses of which a batch of several can hold nothing
    "supcon": [EACH_ITS_OWN],
    "class_pair_gates": [torch.tensor([0, 1, 2, 0, 1, 2]), torch.tensor([3] * 6)],
    "supremix": [20.0 * EACH_ITS_OWN],
    "label_alignment": [1e6 * EACH_ITS_OWN],
    "multi_positive_info_nce": [torch.empty(2, 0, dtype=torch.long)],
    "weighted_info_nce": [ONE_LABEL],
    "given_weight_info_nce": [torch.full((6,), -torch.inf)],
    "prototype_contrast": [[torch.eye(4)], [NO_LABEL], [torch.ones(4)]],
    "prototype_cross_entropy": [NO_LABEL],
    "masked_prediction": [torch.zeros(6, 1, dtype=torch.bool)],
    "momentum_contrast": [torch.ones(3, 4), EACH_ITS_OWN, torch.full((3,), -1)],
}
SPOILED = {  # arguments of the others, and what the warning says of six examples
    "collapse": ({"is_target": torch.ones(6, dtype=torch.bool)}, "none of 6 examples is background"),
    "salient_uniformity": ({"is_target": torch.zeros(6, dtype=torch.bool)}, "none of 6 examples is a target"),
    "mmd": ({"is_target": torch.zeros(6, dtype=torch.bool)}, "none of 6 examples is a target"),
    "hsic": ({"is_target": torch.arange(6) < 2}, "of 6 examples fewer than 3 are targets"),
    "attribute_alignment": ({"attribute": 100.0 * EACH_ITS_OWN}, "all 6 examples have no other of like attribute"),
    "swapped_prediction": ({"codes": NO_LABEL}, "all 6 anchors have no label"),
    **{
        name: ({"labels": torch.full((6, 2, 5), -100)}, "all 60 voxels have no label")
        for name in ("dice_cross_entropy", "focal", "tversky", "generalized_dice")
    },
}


@pytest.fixture(autouse=True)
def _shapes_unchecked():
    """As users run it: our own messages, not those of the checker of shapes."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def test_every_loss_is_described():
    assert set(NAMES) == set(CASES) | set(PLAIN), "describe its inputs in tests/reference"
    assert set(NAMES) == NEVER_EMPTY | set(SINGLE) | set(REST) | set(SPOILED), "say when a batch gives it nothing"


@pytest.mark.filterwarnings("ignore:.*the loss of this batch is 0")
@pytest.mark.parametrize("n", [6, 1, 0])
@pytest.mark.parametrize("name", PLAIN)
def test_a_batch_of_any_size_gives_a_number_with_a_gradient(name, n, rng):
    case = PLAIN[name]
    given = {k: x.requires_grad_(k in case.learning) for k, x in case.inputs(n, rng).items()}
    loss = case.call(case.make(), given)
    loss.backward()
    assert loss.shape == ()
    assert loss.isfinite()
    assert all(x.grad is None or x.grad.isfinite().all() for x in given.values())


@pytest.mark.parametrize("name", NAMES)
def test_autocast_changes_neither_value_nor_gradient(name, rng):
    call, inputs, loss = _called(name, rng)
    plain = _with_gradients(call, inputs, loss)
    with torch.autocast("cpu", torch.bfloat16):
        torch.manual_seed(7)
        value = call(inputs)
        assert torch.is_autocast_enabled("cpu")
    assert value.dtype == torch.float32
    for found, expected in zip((value, *_gradients(value, inputs, loss)), plain, strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize("name", NAMES)
def test_autocast_takes_the_half_precision_that_networks_return_as_promoted(name, rng):
    call, inputs, loss = _called(name, rng)
    halves = [x.detach().bfloat16().requires_grad_() for x in inputs]
    expected = call([x.detach().float() for x in halves])
    with torch.autocast("cpu", torch.bfloat16):
        torch.manual_seed(7)
        value = call(halves)
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)
    assert all(x.isfinite().all() for x in _gradients(value, halves, loss))


@pytest.mark.parametrize("name", [n for n in PLAIN if hasattr(catalogue.find("losses", n), "fit_loss")])
def test_autocast_does_not_change_what_networks_of_a_loss_are_fitted_by(name, rng):
    loss, given = PLAIN[name].make(), PLAIN[name].inputs(6, rng)
    expected = loss.fit_loss(**given)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(loss.fit_loss(**given), expected)


def _called(name, rng):
    """A call of the loss with the inputs that learn, these inputs in float32, and the loss."""
    if name in PLAIN:
        case = PLAIN[name]
        loss, given = case.make(), case.inputs(6, rng)
        inputs = [given[argument].requires_grad_() for argument in case.learning]
        return lambda xs: case.call(loss, given | dict(zip(case.learning, xs, strict=True))), inputs, loss
    torch.manual_seed(7)
    embeddings, rest = CASES[name].inputs(8, 16, rng)
    loss = CASES[name].make(dim=16)
    torch.manual_seed(7)
    return lambda xs: loss(*xs, *rest), [x.float().requires_grad_() for x in embeddings], loss


def _with_gradients(call, inputs, loss):
    value = call(inputs)
    return value, *_gradients(value, inputs, loss)


def _gradients(value, inputs, loss):
    return [x for x in torch.autograd.grad(value, [*inputs, *loss.parameters()], allow_unused=True) if x is not None]


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("name", PLAIN)
def test_rows_that_are_not_finite_are_named(name, bad, rng):
    case = PLAIN[name]
    for argument in case.finite:
        given = case.inputs(6, rng)
        given[argument].view(6, -1)[3, 0] = bad
        with pytest.raises(ValueError, match="NaN or infinity in 1 of 6 embeddings, rows 3"):
            case.call(case.make(), given)


@pytest.mark.parametrize("name", PLAIN)
def test_integer_embeddings_are_refused(name, rng):
    case = PLAIN[name]
    for argument in case.learning:
        given = case.inputs(6, rng)
        with pytest.raises(TypeError, match=r"expected floating-point (embeddings|numbers), got torch\.int64"):
            case.call(case.make(), given | {argument: given[argument].long()})


@pytest.mark.parametrize("name", [n for n in PLAIN if n != "uniformity"])
def test_arguments_of_different_lengths_are_refused(name, rng):
    case = PLAIN[name]
    for argument in case.inputs(6, rng):
        given = case.inputs(6, rng)
        with pytest.raises(ValueError, match=r"expected the same length, got .*: [56]|expected one class per voxel"):
            case.call(case.make(), given | {argument: given[argument][:5]})


@pytest.mark.parametrize("name", [n for n in PLAIN if PLAIN[n].same_width])
def test_embeddings_of_different_widths_are_refused(name, rng):
    case = PLAIN[name]
    given = case.inputs(6, rng)
    with pytest.raises(ValueError, match=r"expected the same width|expected shape \(6, 3\), that of the scores"):
        case.call(case.make(), given | {"second": given["second"][:, :3]})


@pytest.mark.parametrize("name", [n for n in PLAIN if "is_target" in PLAIN[n].inputs(2, torch.Generator())])
def test_groups_that_are_no_booleans_are_refused(name, rng):
    case = PLAIN[name]
    given = case.inputs(6, rng)
    with pytest.raises(TypeError, match=r"is_target: expected one boolean per example, got torch\.int64"):
        case.call(case.make(), given | {"is_target": given["is_target"].long()})
    with pytest.raises(ValueError, match=r"is_target: expected shape \(examples,\), got \(6, 1\)"):
        case.call(case.make(), given | {"is_target": given["is_target"][:, None]})


@pytest.mark.parametrize("value", [0.0, -0.1, torch.nan])
@pytest.mark.parametrize(("name", "setting"), ABOVE_ZERO)
def test_settings_not_above_zero_are_refused(name, setting, value):
    with pytest.raises(ValueError, match=f"{setting}: expected a number above 0"):
        PLAIN[name].make(**{setting: value})


@pytest.mark.parametrize("name", [*SINGLE, *REST])
def test_anchors_without_positive_or_negative_give_zero_with_a_graph_and_are_counted(name, rng):
    case = CASES[name]
    embeddings, rest = case.inputs(1 if name in SINGLE else 6, 4, rng)
    leaves = [x.float().requires_grad_() for x in embeddings]
    rest = REST.get(name, rest)
    extra = {"reduction": "none"}
    with pytest.warns(UserWarning, match="the loss of this batch is 0"):
        num_anchors = len(case.make(dim=4, **extra)(*leaves, *rest))
    with pytest.warns(UserWarning, match=f"all {num_anchors} anchors have no .*: the loss of this batch is 0"):
        loss = case.make(dim=4)(*leaves, *rest)
    loss.backward()
    assert loss.item() == 0
    assert leaves[0].grad is not None
    assert all(x.grad is None or (x.grad == 0).all() for x in leaves)


@pytest.mark.parametrize("name", SPOILED)
def test_a_batch_that_gives_nothing_gives_zero_with_a_graph_and_is_counted(name, rng):
    case, (spoiled, reason) = PLAIN[name], SPOILED[name]
    given = {k: x.requires_grad_(k in case.learning) for k, x in case.inputs(6, rng).items()}
    settings = {"bandwidth": 0.0} if name == "attribute_alignment" else {}
    with pytest.warns(UserWarning, match=f"{reason}: the loss of this batch is 0"):
        loss = case.call(case.make(**settings), given | spoiled)
    loss.backward()
    assert loss.item() == 0
    assert all(given[k].grad is None or (given[k].grad == 0).all() for k in case.learning)
