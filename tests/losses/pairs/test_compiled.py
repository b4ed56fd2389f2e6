"""Losses under `torch.compile`: one graph without a break, same values and gradients."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from medgraph.losses.pairs import pair_lse, terms

TESTS = Path(__file__).parents[2]
CHECKS = [
    ["rectangular:None:auto", "rectangular:7:tiled", "self_contrast:None:auto", "self_contrast:7:tiled"],
    ["sums:None:auto", "sums:7:tiled", "several_sizes", "breaks", "refusals", "exported"],
    ["fused"],
    ["losses"],
    ["plain_losses"],
]


@pytest.mark.slow
@pytest.mark.parametrize("checks", CHECKS, ids=lambda checks: checks[0])
def test_compiled_equals_eager(checks):
    if checks == ["fused"]:
        pytest.importorskip("triton")
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "reference.compiled_checks", *checks]
    run = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=TESTS.parent)
    assert run.returncode == 0, run.stderr[-3000:]


@pytest.mark.parametrize("name", ["pair_lse", "pair_sum"])
def test_the_operations_keep_what_torch_asks_of_them(name, rng):
    q = torch.randn(5, 3, generator=rng, dtype=torch.float64).requires_grad_()
    k = torch.randn(4, 3, generator=rng, dtype=torch.float64).requires_grad_()
    weight = torch.randn(4, generator=rng, dtype=torch.float64).requires_grad_()
    term = "(('medgraph.losses.pairs.terms', 'ColumnLogWeight', ()), 0, 1, 0),"
    options = "('columns', True)," if name == "pair_lse" else "('phi', 'exp'),"
    heads = "((1.0, ()), (0.5, ()))" if name == "pair_lse" else "()"
    text = f"(({term}), {heads}, ({options} ('tile', None), ('backend', 'tiled')), False)"
    scale = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
    operation = getattr(torch.ops.medgraph, name).default
    torch.library.opcheck(
        operation,
        (q, k, scale, None, weight, [weight], text),
        test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),
    )


def test_terms_come_back_from_text_as_they_were():
    from medgraph.losses.pairs import compiled
    from medgraph.losses.pairs.distances import MinimalGap

    term = terms.LabelDistance(torch.arange(3), None, MinimalGap(2, keep_same=True))
    again = compiled._term(compiled._parsed(compiled._list([term]))[0], iter(term.factors))
    assert again.function == term.function
    z = torch.eye(3)
    assert torch.equal(pair_lse(z, terms=(again,)), pair_lse(z, terms=(term,)))
