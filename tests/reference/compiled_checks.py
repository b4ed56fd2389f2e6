"""Compiled losses against the losses themselves; run in a process without the run-time checks of shapes.

Those checks, which `tests/conftest.py` puts around every function, are nothing that torch can draw a graph of.
"""

import sys
import warnings

import pytest
import torch

from medgraph.losses.pairs import pair_lse, pair_sum, terms
from medgraph.losses.pairs.distances import GaussianKernel, MinimalGap
from medgraph.losses.pairs.sum import FUNCTIONS

ROWS, COLUMNS, DIM = 20, 30, 4


def compare(call, inputs, **options):
    """Values and gradients of a call, and of the same call as one graph."""
    leaves = [x for x in inputs if x.requires_grad]
    compiled = torch.compile(call, backend="aot_eager", **{"fullgraph": True, **options})
    for x, y in zip(found(call, inputs, leaves), found(compiled, inputs, leaves), strict=True):
        torch.testing.assert_close(x, y, rtol=1e-12, atol=1e-12)


def found(call, inputs, leaves):
    """All that a call returns, and the gradients of a sum over it."""
    out = call(*inputs)
    out = out if isinstance(out, tuple) else (out,)
    total = sum((torch.arange(1, x.numel() + 1).view_as(x) * x.masked_fill(x == -torch.inf, 0)).sum() for x in out)
    return *out, *torch.autograd.grad(total, leaves)


def leaf(*shape):
    """Random numbers with a gradient."""
    return torch.randn(shape, dtype=torch.float64).requires_grad_()


def rectangular(tile, backend):
    """Several heads, rows and columns, every learnable term, every input with a gradient."""
    ids, key_ids = torch.randint(9, (ROWS,)), torch.randint(9, (COLUMNS,)) - 1
    edges = torch.tensor([0, 1, 1, 7]), torch.tensor([3, 0, 5, 2])

    def call(q, k, c, a, b, w, u, v, second, bias, table, listed):
        common = (terms.ExcludeSameId(ids, key_ids), terms.ColumnLogWeight(w), terms.SparseBias(*edges, listed))
        scorer = terms.AdditiveScorer(u, v, second, bias)
        heads = ((1.0, (scorer,)), (0.5, (terms.LowRankBias(u, v),)), (0.0, (terms.TableLogWeight(table, ids, ids2),)))
        return pair_lse(
            q, k, scale=c, row_bias=a, col_bias=b, terms=common, heads=heads, columns=True, tile=tile, backend=backend
        )

    ids2 = key_ids.clamp_min(0)
    sizes = (COLUMNS,), (COLUMNS,), (ROWS, 3), (COLUMNS, 3), (3,), (), (9, 9), (4,)
    scale = torch.rand(ROWS).double().requires_grad_()
    compare(call, [leaf(ROWS, DIM), leaf(COLUMNS, DIM), scale, leaf(ROWS), *(leaf(*size) for size in sizes)])


def self_contrast(tile, backend):
    """The symmetric matrix, one bias for both sides, and masks of every kind."""
    ids, ages, guide = torch.arange(ROWS) % 15, torch.rand(ROWS), torch.randn(ROWS, 3)

    def call(z, c, a):
        masks = (terms.ExcludeSameId(ids), terms.LabelDistance(ages, None, GaussianKernel(0.7)))
        heads = ((1.0, ()), (2.0, (terms.Guide(guide, None, 0.3), terms.ScoreFloor(-3 - a))))
        plain = pair_lse(z, scale=c, row_bias=a, col_bias=a, terms=masks, columns=True, tile=tile, backend=backend)
        more = pair_lse(z, z, scale=0.5, terms=masks, heads=heads, tile=tile, backend=backend)
        return *plain, more

    compare(call, [leaf(ROWS, DIM), torch.tensor(1.5).double().requires_grad_(), leaf(ROWS)])


def sums(tile, backend):
    """Every function of `pair_sum`, with an offset and a learnable weight."""
    slices = torch.arange(ROWS), torch.arange(COLUMNS)

    def call(q, k, o, w):
        kept = (terms.LabelDistance(*slices, MinimalGap(3)), terms.ColumnLogWeight(w))
        options = {"scale": 0.5, "offset": o, "terms": kept, "tile": tile, "backend": backend}
        return tuple([pair_sum(q, k, phi=phi, **options) for phi in FUNCTIONS])

    compare(call, [leaf(ROWS, DIM), leaf(COLUMNS, DIM), leaf(ROWS), leaf(COLUMNS)])
    labels = torch.arange(ROWS) % 3  # "identity" of one label term is linear
    compare(lambda z: pair_sum(z, phi="identity", terms=(terms.OnlyPositives(labels),)), [leaf(ROWS, DIM)])


def fused():
    """The fused kernels, in single precision."""
    ids = torch.arange(ROWS)

    def call(q, c):
        return pair_lse(q, scale=c, terms=(terms.ExcludeSameId(ids),), columns=True, backend="triton")

    compare(call, [torch.randn(ROWS, DIM, requires_grad=True), torch.tensor(2.0, requires_grad=True)])


def several_sizes():
    """Batches of other sizes need at most one graph more; half precision and a plain key bank."""
    from torch._dynamo.testing import CompileCounterWithBackend

    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(lambda q, k: pair_lse(q, k, scale=2.0)[0].mean(), backend=counter, fullgraph=True)
    for rows, keys in ((20, 30), (21, 33), (300, 400), (22, 34)):
        q, k = torch.randn(rows, DIM).bfloat16().requires_grad_(), torch.randn(keys, DIM)
        (gradient,) = torch.autograd.grad(compiled(q, k), q)
        assert gradient.dtype == torch.bfloat16
        torch.testing.assert_close(gradient, torch.autograd.grad(pair_lse(q, k, scale=2.0)[0].mean(), q)[0])
    assert counter.frame_count <= 2


def breaks():
    """A function of the caller's, and other processes, are no part of a graph; the result is the same."""
    ages = torch.rand(ROWS)

    def custom(z):
        return pair_lse(z, terms=(terms.LabelDistance(ages, None, lambda distance: -3 * distance),))

    compare(custom, [leaf(ROWS, DIM)], fullgraph=False)
    compare(lambda z: pair_lse(z, dist="ring"), [leaf(ROWS, DIM)], fullgraph=False)
    compare(lambda z: pair_sum(z, phi="exp", dist="gather"), [leaf(ROWS, DIM)], fullgraph=False)


def refusals():
    """What does not fit is named when the graph runs."""
    compiled = torch.compile(lambda z: pair_lse(z)[0].sum(), backend="aot_eager", fullgraph=True)
    bad = torch.randn(ROWS, DIM)
    bad[3, 1] = torch.nan
    with pytest.raises(ValueError, match="NaN or infinity in 1 of 20 embeddings, rows 3"):
        compiled(bad)


def exported():
    """A loss as a file of torch.export: the operation is one node."""
    from medgraph.losses import NTXent

    inputs = torch.randn(5, DIM), torch.randn(5, DIM)
    program = torch.export.export(NTXent(0.2), inputs)
    assert "medgraph.pair_lse" in str(program.graph)
    torch.testing.assert_close(program.module()(*inputs), NTXent(0.2)(*inputs))


def losses():
    """Whole losses: with positives by label, a learned weight, learned scale and bias, rejected negatives, pairs."""
    from reference.contrastive_cases import CASES

    names = "nt_xent", "supcon", "adaptive_info_nce", "sigmoid_pair", "false_negative_removal"
    for name in (*names, "class_pair_gates", "multi_positive_info_nce"):
        case = CASES[name]
        torch._dynamo.reset()
        embeddings, rest = case.inputs(12, DIM, torch.Generator().manual_seed(3))
        loss = case.make(dim=DIM).double()
        leaves = [x.requires_grad_() for x in embeddings]
        wanted = [*leaves, *loss.parameters()]
        compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
        for x, y in zip(found(loss, (*leaves, *rest), wanted), found(compiled, (*leaves, *rest), wanted), strict=True):
            torch.testing.assert_close(x, y, rtol=1e-10, atol=1e-12)


def plain_losses():
    """Losses of segmentation and of SepCLR, and weights by a table of strata."""
    from reference.plain_cases import PLAIN

    from medgraph.losses import InversePropensity

    for name in ("dice_cross_entropy", "focal", "tversky", "generalized_dice", "collapse", "kernel_joint_entropy"):
        case = PLAIN[name]
        torch._dynamo.reset()
        given = case.inputs(12, torch.Generator().manual_seed(3))
        given = {key: x.double() if x.is_floating_point() else x for key, x in given.items()}
        leaves = [given[key].requires_grad_() for key in case.learning]
        compare(case.make(), [*leaves, *(x for key, x in given.items() if key not in case.learning)])
    table, strata = torch.rand(3, 3).double(), torch.arange(ROWS) % 3
    torch._dynamo.reset()
    compare(lambda q, k: InversePropensity(0.5)(q, k, table, strata), [leaf(ROWS, DIM), leaf(ROWS, DIM)])


if __name__ == "__main__":
    torch.manual_seed(0)
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    for chosen in sys.argv[1:]:
        name, *arguments = chosen.split(":")
        torch._dynamo.reset()
        values = [None if x == "None" else int(x) if x.isdigit() else x for x in arguments]
        globals()[name](*values)
