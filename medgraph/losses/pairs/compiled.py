"""The reductions as operations of a graph, for `torch.compile` and `torch.export`: one forward, one backward.

Tensors go into an operation as they are, all else as text: classes and settings of the terms, heads, options. It reads
the text and calls the reduction as ever; backward it calls it again with the sums known, which costs the gradient
alone. What text cannot hold (a function of the caller's, see `PairTerm.settings`) runs between two graphs.
"""

import ast
import functools
import importlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from medgraph.losses.pairs.term import PairTerm

Heads = Sequence[tuple[float, Sequence[PairTerm]]]
Size = tuple[int, ...]
FORWARD = "(Tensor q, Tensor? k, Tensor scale, Tensor? a, Tensor? b, Tensor[] factors, str text) -> (Tensor, Tensor)"
BACKWARD = (
    "(Tensor q, Tensor? k, Tensor scale, Tensor? a, Tensor? b, Tensor[] factors, str text, "
    "Tensor[] known, Tensor[] gradients, bool[] needs) -> Tensor[]"
)


def register(
    name: str,
    reduce: Callable[..., tuple[Tensor, ...]],
    sizes: Callable[[int, int, int, dict[str, Any]], tuple[Size, Size]],
) -> Callable[..., tuple[Tensor, Tensor]]:
    """Make the operation `medgraph::name` of a reduction; returns the function to call while a graph is drawn.

    Args:
        name: What it is called in a graph.
        reduce: (q, k, scale, row bias, column bias, terms, heads, known=, **options) -> one or two sums.
        sizes: (rows, columns, heads, options) -> the sizes of both sums, (0,) for one that is not asked for.
    """
    forward_name, backward_name = f"medgraph::{name}", f"medgraph::{name}_backward"
    torch.library.define(forward_name, FORWARD)
    torch.library.define(backward_name, BACKWARD)

    @torch.library.impl(forward_name, "CompositeExplicitAutograd")
    def forward(q, k, scale, a, b, factors, text):
        with torch.no_grad():
            sums = _call(reduce, (q, k, scale, a, b, *factors), text, None)
        return sums if len(sums) == 2 else (sums[0], sums[0].new_empty(0))

    @torch.library.impl(backward_name, "CompositeExplicitAutograd")
    def backward(q, k, scale, a, b, factors, text, known, gradients, needs):
        inputs = (q, k, scale, a, b, *factors)
        with torch.enable_grad():
            leaves = [x if x is None else x.detach().requires_grad_(n) for x, n in zip(inputs, needs, strict=True)]
            sums = _call(reduce, leaves, text, known)
            wanted = [x for x, need in zip(leaves, needs, strict=True) if need and x is not None]
            found = torch.autograd.grad(sums, wanted, gradients[: len(sums)], materialize_grads=True)
        return [x.clone(memory_format=torch.contiguous_format) for x in found]

    @torch.library.register_fake(forward_name)
    def forward_sizes(q, k, scale, a, b, factors, text):
        _, heads, options, _ = _parsed(text)
        dtype = torch.promote_types(q.dtype if k is None else torch.promote_types(q.dtype, k.dtype), torch.float32)
        first, second = sizes(q.shape[0], (q if k is None else k).shape[0], len(heads), dict(options))
        return q.new_empty(first, dtype=dtype), q.new_empty(second, dtype=dtype)

    @torch.library.register_fake(backward_name)
    def backward_sizes(q, k, scale, a, b, factors, text, known, gradients, needs):
        inputs = zip((q, k, scale, a, b, *factors), needs, strict=True)
        return [torch.empty_like(x, memory_format=torch.contiguous_format) for x, need in inputs if need]

    def setup(ctx, inputs, output):
        *tensors, factors, text = inputs
        ctx.text, ctx.needs = text, [x is not None and x.requires_grad for x in (*tensors, *factors)]
        ctx.save_for_backward(*output, *tensors, *factors)

    def pull(ctx, *gradients):
        first, second, q, k, scale, a, b, *factors = ctx.saved_tensors
        run = getattr(torch.ops.medgraph, f"{name}_backward")
        known = [first, second]
        found = iter(run(q, k, scale, a, b, factors, ctx.text, known, list(gradients), ctx.needs))
        each = [next(found) if need else None for need in ctx.needs]
        return *each[:5], each[5:], None

    torch.library.register_autograd(forward_name, pull, setup_context=setup)
    return getattr(torch.ops.medgraph, name)


def call(
    operation: Callable[..., tuple[Tensor, Tensor]],
    reduce: Callable[..., tuple[Tensor, ...]],
    q: Tensor,
    k: Tensor | None,
    scale: float | Tensor,
    row_bias: Tensor | None,
    col_bias: Tensor | None,
    terms: Sequence[PairTerm],
    heads: Heads,
    dist: str | None,
    group: Any,
    options: dict[str, Any],
) -> tuple[Tensor, ...]:
    """The sums as one operation; between two graphs for other processes, and for terms that text cannot hold."""
    all_terms = [*terms, *[term for _, extra in heads for term in extra]]
    if dist is not None or not all([_fits(term) for term in all_terms]):
        outside = torch.compiler.disable(reduce)
        return outside(q, k, scale, row_bias, col_bias, terms, heads, dist=dist, group=group, **options)
    mirrored = row_bias is not None and row_bias is col_bias
    listed = "".join([f"({alpha!r}, {_list(extra)})," for alpha, extra in heads])
    chosen = "".join([f"({name!r}, {value!r})," for name, value in options.items()])
    text = f"({_list(terms)}, ({listed}), ({chosen}), {mirrored!r})"
    scale = torch.as_tensor(scale, dtype=torch.promote_types(q.dtype, torch.float32), device=q.device)
    factors = [factor for term in all_terms for factor in term.factors]
    return operation(q, None if k is q else k, scale, row_bias, None if mirrored else col_bias, factors, text)


def _list(terms: Sequence[PairTerm]) -> str:
    each = [
        f"({_object(term)}, {len(term.row_factors)}, {len(term.column_factors)}, {len(term.shared_factors)}),"
        for term in terms
    ]
    return f"({''.join(each)})"


def _object(thing: Any) -> str:
    """Module, class and settings."""
    settings = [(name, getattr(thing, name)) for name in thing.settings]
    written = [f"({name!r}, {_object(x) if hasattr(x, 'settings') else repr(x)})," for name, x in settings]
    return f"({type(thing).__module__!r}, {type(thing).__qualname__!r}, ({''.join(written)}))"


def _fits(thing: Any) -> bool:
    """Whether module, class and settings say all."""
    if "<locals>" in type(thing).__qualname__:
        return False
    values = [getattr(thing, name) for name in thing.settings]
    return all([_fits(x) if hasattr(x, "settings") else isinstance(x, int | float | str) for x in values])


@functools.lru_cache(maxsize=256)
def _parsed(text: str) -> Any:
    return ast.literal_eval(text)


def _call(
    reduce: Callable[..., tuple[Tensor, ...]],
    inputs: Sequence[Any],
    text: str,
    known: Sequence[Tensor] | None,
) -> tuple[Tensor, ...]:
    """The reduction of what an operation was given."""
    q, k, scale, a, b, *factors = inputs
    terms, heads, options, mirrored = _parsed(text)
    pieces = iter(factors)
    common = tuple(_term(entry, pieces) for entry in terms)
    own = tuple((alpha, tuple(_term(entry, pieces) for entry in extra)) for alpha, extra in heads)
    return reduce(q, k, scale, a, a if mirrored else b, common, own, known=known, **dict(options))


def _term(entry: Any, pieces: Any) -> PairTerm:
    written, *counts = entry
    term = _read(written)
    sides = [tuple(next(pieces) for _ in range(count)) for count in counts]
    term.row_factors, term.column_factors, term.shared_factors = sides
    return term


def _read(written: Any) -> Any:
    """The object of a class and its settings, which is not initialized anew."""
    module, name, settings = written
    thing = object.__new__(getattr(importlib.import_module(module), name))
    for key, value in settings:
        object.__setattr__(thing, key, _read(value) if isinstance(value, tuple) else value)
    return thing
