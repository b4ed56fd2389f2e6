"""A gradient that is to be differentiated is refused, not returned without what it depends on."""

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from medgraph.losses.attribute_alignment import AttributeAlignment
from medgraph.losses.info_nce import InfoNCE
from medgraph.losses.joint_entropy import JointEntropy
from medgraph.losses.label_alignment import LabelAlignment
from medgraph.losses.pairs import pair_lse, pair_sum
from medgraph.losses.uniformity import Uniformity

LOSSES = {
    "uniformity": Uniformity(form="row"),
    "joint_entropy": lambda x: JointEntropy()(x, x),
    "label_alignment": lambda x: LabelAlignment()(x, torch.arange(float(len(x)))),
    "attribute_alignment": lambda x: AttributeAlignment()(x, torch.linspace(0, 1, len(x))),
    "info_nce": lambda x: InfoNCE()(x, x.flip(0)),
    "pair_sum": lambda x: pair_sum(x, phi="square").sum(),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_gradient_of_the_gradient_is_refused(name, rng):
    x = torch.randn(256, 3, generator=rng).requires_grad_()  # 65,536 pairs: tiles
    with pytest.raises(RuntimeError, match="has first derivatives only, expected a gradient without create_graph=True"):
        torch.autograd.grad(LOSSES[name](x), x, create_graph=True)


def test_the_whole_matrix_has_second_derivatives(rng):
    x = torch.randn(5, 3, generator=rng, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x: pair_lse(x, backend="dense").mean(), x)


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpoints_kept_graphs_and_sums_of_gradients_work_on(reentrant, rng):
    x = torch.randn(256, 3, generator=rng).requires_grad_()
    LOSSES["info_nce"](x).backward()
    plain, x.grad = x.grad, None
    loss = checkpoint(LOSSES["info_nce"], x, use_reentrant=reentrant)
    loss.backward(retain_graph=True)
    loss.backward()
    torch.testing.assert_close(x.grad, 2 * plain)
