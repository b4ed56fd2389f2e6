"""Losses under `torch.compile`: the graph breaks at the pairs, whose loops run as they are."""

import subprocess
import sys

import pytest

# In a process of its own: the run-time type checks of the tests are not there for torch to trace.
COMPARED = """
import torch
from medgraph.losses import NTXent
torch.manual_seed(0)
torch.set_num_threads(1)
loss = NTXent(0.1)
compiled = torch.compile(loss, backend="aot_eager")
for num in (20, 300):  # the whole matrix, then tiles
    inputs = [torch.randn(num, 8, requires_grad=True) for _ in range(2)]
    found, expected = ((value, *torch.autograd.grad(value, inputs)) for value in (loss(*inputs), compiled(*inputs)))
    for x, y in zip(found, expected, strict=True):
        torch.testing.assert_close(x, y)
print(*torch._dynamo.utils.counters["graph_break"])
"""


@pytest.mark.slow
def test_a_compiled_loss_equals_the_loss():
    run = subprocess.run([sys.executable, "-c", COMPARED], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "torch.compiler.disable" in run.stdout  # not because torch tried to trace the loops and gave up
