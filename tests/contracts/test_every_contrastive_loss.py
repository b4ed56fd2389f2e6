"""What every contrastive loss of the catalogue promises: precision, invariance, extremes, refusals, reductions."""

import inspect
import warnings
from functools import partial

import jaxtyping
import pytest
import torch
from reference.contrastive_cases import CASES

from medgraph import catalogue
from medgraph.losses import pairs
from medgraph.losses.anchors import ContrastiveLoss

NAMES = [name for name in catalogue.TABLES["losses"] if issubclass(catalogue.find("losses", name), ContrastiveLoss)]
SOLVABLE = [  # by views that are alike
    "info_nce", "nt_xent", "debiased_nt_xent", "quantile_negatives", "false_negative_removal", "momentum_contrast",
    "mean_normalized_negatives", "weighted_info_nce", "given_weight_info_nce", "inverse_propensity", "dcl", "dclw",
    "mv_info_nce", "mv_dhel",
]  # fmt: skip
AS_THEY_ARE = ["rank_n_contrast", "label_alignment", "prototype_cross_entropy"]  # the only ones not to normalize
WITH_TEMPERATURE = [n for n in NAMES if "temperature" in inspect.signature(catalogue.find("losses", n)).parameters]


@pytest.fixture(autouse=True)
def _shapes_unchecked():
    """As users run it: our own messages, not those of the checker of shapes."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def make(name, **settings):
    torch.manual_seed(7)
    return CASES[name].make(**settings)


def gradients(name, loss, embeddings, rest):
    """The loss, and its gradient for all embeddings that are to have one, and for all parameters."""
    leaves = [x.detach().clone().requires_grad_() for x in embeddings]
    value = loss(*leaves, *rest)
    learning = [x for i, x in enumerate(leaves) if i not in CASES[name].detached]
    return value, torch.autograd.grad(value, [*learning, *loss.parameters()])


def test_every_contrastive_loss_has_a_case():
    assert set(NAMES) - set(CASES) == set(), "describe its inputs in tests/reference/contrastive_cases.py"


@pytest.mark.parametrize(
    ("name", "settings"),
    [(n, {}) for n in NAMES] + [(n, {"temperature": t}) for n in WITH_TEMPERATURE for t in (0.05, 0.5)],
)
def test_float32_gradients_agree_with_float64(name, settings, rng):
    _check_precision(name, settings, 512, rng)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nt_xent", "debiased_nt_xent", "supcon", "replay", "relational_distillation"])
def test_cold_float32_gradients_of_many_agree_with_float64(name, rng):
    _check_precision(name, {"temperature": 0.05}, 4096, rng)  # the spec's size; of those that come nearest to the limit


def _check_precision(name, settings, num, rng):
    embeddings, rest = CASES[name].inputs(num, 128, rng)
    loss = make(name, dim=128, **settings)
    single = gradients(name, loss, [x.float() for x in embeddings], rest)[1]
    double = gradients(name, loss.double(), [x.float().double() for x in embeddings], rest)[1]
    for narrow, wide in zip(single, double, strict=True):
        assert narrow.dtype == torch.float32
        assert (narrow.double() - wide).norm() <= 1e-6 * wide.norm()


@pytest.mark.parametrize("backend", ["dense", "tiled", "triton"])
@pytest.mark.parametrize("name", NAMES)
def test_float32_gradients_agree_whatever_the_backend(name, backend, rng, monkeypatch):
    if backend == "triton":
        pytest.importorskip("triton")
        warnings.filterwarnings("ignore", "the fused kernel does not know")
    case = CASES[name]
    embeddings, rest = case.inputs(80, 32, rng)
    double = gradients(name, make(name, dim=32).double(), [x.float().double() for x in embeddings], rest)[1]
    for reduction in ("pair_lse", "pair_sum"):
        monkeypatch.setattr(pairs, reduction, partial(getattr(pairs, reduction), backend=backend))
    single = gradients(name, make(name, dim=32), [x.float() for x in embeddings], rest)[1]
    for narrow, wide in zip(single, double, strict=True):
        assert (narrow.double() - wide).norm() <= 1e-6 * wide.norm()


@pytest.mark.parametrize(("temperature", "tolerance"), [(0.1, 1e-6), (0.05, 1.5e-6)])
@pytest.mark.parametrize("name", SOLVABLE)
def test_float32_gradients_agree_even_where_the_task_is_solved(name, temperature, tolerance, rng):
    settings = {"label_smoothing": 0.0} if name == "info_nce" else {}
    embeddings, rest = CASES[name].inputs(64, 128, rng, noise=0.1)
    loss = make(name, dim=128, temperature=temperature, **settings)
    single = gradients(name, loss, [x.float() for x in embeddings], rest)[1]
    double = gradients(name, loss.double(), [x.float().double() for x in embeddings], rest)[1]
    for narrow, wide in zip(single, double, strict=True):
        assert (narrow.double() - wide).norm() <= tolerance * wide.norm()


@pytest.mark.parametrize("name", NAMES)
def test_reordering_examples_changes_nothing(name, rng):
    case = CASES[name]
    embeddings, rest = case.inputs(24, 6, rng)
    order = torch.randperm(24, generator=rng)
    moved = case.reorder(embeddings, rest, order)
    loss = make(name, dim=6, **case.without_draws).double()
    torch.testing.assert_close(loss(*moved), loss(*embeddings, *rest), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", [n for n in NAMES if n not in AS_THEY_ARE])
def test_lengths_of_embeddings_do_not_matter_and_gradients_stand_upright_on_them(name, rng):
    embeddings, rest = CASES[name].inputs(12, 6, rng)
    loss = make(name, dim=6).double()
    value, found = gradients(name, loss, embeddings, rest)
    longer = [x * (1 + torch.rand(*x.shape[:-1], 1, generator=rng, dtype=x.dtype)) for x in embeddings]
    torch.testing.assert_close(loss(*longer, *rest), value.detach(), rtol=1e-10, atol=1e-12)
    learning = [x for i, x in enumerate(embeddings) if i not in CASES[name].detached]
    for x, gradient in zip(learning, found, strict=False):  # parameters come after the embeddings
        assert gradient.norm() > 0
        torch.testing.assert_close((x * gradient).sum(dim=-1), torch.zeros(x.shape[:-1], dtype=x.dtype))


@pytest.mark.parametrize("kind", ["bfloat16", "cold", "long", "equal", "single", "none"])
@pytest.mark.parametrize("name", NAMES)
def test_extremes_stay_finite(name, kind, rng):
    case, n = CASES[name], {"single": 1, "none": 0}.get(kind, 16)
    embeddings, rest = case.inputs(n, 8, rng)
    change = {"bfloat16": lambda x: x.bfloat16(), "long": lambda x: 100 * x / x.norm(dim=-1, keepdim=True),
              "equal": torch.ones_like}.get(kind, lambda x: x)  # fmt: skip
    settings = {"temperature": 0.005} if kind == "cold" and name in WITH_TEMPERATURE else {}
    embeddings = [change(x if kind == "bfloat16" else x.float()) for x in embeddings]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "all .* the loss of this batch is 0")
        value, found = gradients(name, make(name, dim=8, **settings), embeddings, rest)
    assert value.isfinite()
    assert all(gradient.isfinite().all() for gradient in found)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("name", NAMES)
def test_rows_that_are_not_finite_are_named(name, bad, rng):
    embeddings, rest = CASES[name].inputs(6, 4, rng)
    for which in range(len(embeddings)):
        changed = [x.clone() for x in embeddings]
        changed[which].view(-1, 4)[3, 1] = bad
        with pytest.raises(ValueError, match=r"NaN or infinity in 1 of \d+ embeddings, rows 3"):
            make(name, dim=4).double()(*changed, *rest)


@pytest.mark.parametrize("name", NAMES)
def test_integer_embeddings_are_refused(name, rng):
    embeddings, rest = CASES[name].inputs(6, 4, rng)
    with pytest.raises(TypeError, match=r"expected floating-point embeddings, got torch\.int64"):
        make(name, dim=4)(*(x.long() for x in embeddings), *rest)


@pytest.mark.parametrize("name", [n for n in NAMES if n in CASES and CASES[n].num_embeddings > 1])
def test_embeddings_that_do_not_fit_are_refused(name, rng):
    case = CASES[name]
    embeddings, rest = case.inputs(6, 4, rng)
    first, *others = (x.float() for x in embeddings)
    with pytest.raises(ValueError, match=r"expected the same length|need at least 6 keys"):
        make(name, dim=4)(first, *(x[:5] for x in others), *rest)
    if case.same_width:
        with pytest.raises(ValueError, match="expected the same width"):
            make(name, dim=4)(first, *(x[:, :3] for x in others), *rest)


@pytest.mark.parametrize("name", [n for n in NAMES if n in CASES and CASES[n].per_example])
def test_labels_of_the_wrong_length_are_refused(name, rng):
    case = CASES[name]
    embeddings, rest = case.inputs(6, 4, rng)
    for place in case.per_example:
        short = [cut(x) if i == place else x for i, x in enumerate(rest)]
        with pytest.raises(ValueError, match=r"expected the same length|holds 5 entries for 6"):
            make(name, dim=4).double()(*embeddings, *short)


def cut(x):
    return [each[:5] for each in x] if isinstance(x, list) else x[:5]


@pytest.mark.parametrize("temperature", [0.0, -0.1, torch.nan, torch.inf])
@pytest.mark.parametrize("name", WITH_TEMPERATURE)
def test_temperatures_not_above_zero_are_refused(name, temperature):
    with pytest.raises(ValueError, match="temperature: expected a number above 0"):
        make(name, dim=4, temperature=temperature)


@pytest.mark.parametrize("name", NAMES)
def test_reductions_agree_with_each_other(name, rng):
    embeddings, rest = CASES[name].inputs(12, 4, rng)
    values = {how: make(name, dim=4, reduction=how).double()(*embeddings, *rest) for how in ("none", "sum", "mean")}
    stats = make(name, dim=4, reduction="mean").double().stats(*embeddings, *rest)
    assert values["none"].shape == (stats["anchors"],)
    if name != "prototype_contrast":  # whose mean over clusterings has as many denominators
        torch.testing.assert_close(values["none"].sum(), values["sum"])
        torch.testing.assert_close(values["sum"] / stats["valid"], values["mean"])
        assert stats["mean"] == pytest.approx(values["mean"].item())
    with pytest.raises(ValueError, match="reduction: expected one of 'mean', 'sum', 'none'"):
        make(name, dim=4, reduction="max")


@pytest.mark.parametrize("name", NAMES)
def test_calling_twice_gives_the_same_twice(name, rng):
    embeddings, rest = CASES[name].inputs(12, 4, rng)
    loss = make(name, dim=4).double()
    embeddings = [x.requires_grad_() for x in embeddings]
    leaves = [x for i, x in enumerate(embeddings) if i not in CASES[name].detached]
    first, second = loss(*embeddings, *rest), loss(*embeddings, *rest)
    assert first == second
    once = torch.autograd.grad(first, leaves, retain_graph=True)
    for a, b in zip(once, torch.autograd.grad(first, leaves), strict=True):
        assert torch.equal(a, b)
