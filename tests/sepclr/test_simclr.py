import pytest
import torch
from reference.sepclr_parts import TinyEncoder, batch, dataset, spec, views

from medgraph.losses.alignment_uniformity import AlignmentUniformity
from medgraph.losses.nt_xent import NTXent
from medgraph.method import Step
from medgraph.sepclr.simclr import SimCLR


def test_a_step_reaches_encoder_and_projector():
    torch.manual_seed(0)
    model = SimCLR(spec(), TinyEncoder(), views(), NTXent(), hidden_dim=8, embedding_dim=4)
    model(batch(), Step(0, 0, 0))["loss"].backward()
    for part in (model.encoder, model.projector):
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in part.parameters() if p.ndim > 1)


def test_batches_hold_both_groups():
    model = SimCLR(spec(), TinyEncoder(), views(), NTXent())
    batches = model.epoch_batches(dataset(20), 8, 0, 0)
    assert all(int(dataset(20).is_target[rows].sum()) == 4 for rows in batches)


def test_one_encoder_may_be_trained_by_what_sepclr_asks_of_its_common_code():
    torch.manual_seed(0)
    model = SimCLR(spec(), TinyEncoder(), views(), AlignmentUniformity(), hidden_dim=8, embedding_dim=4)
    outputs = model(batch(), Step(0, 0, 0))
    outputs["loss"].backward()
    assert outputs["loss"] < 0  # uniformity outweighs the alignment of gentle views
    assert all(p.grad is not None for p in model.parameters())


def test_an_embedding_of_nothing_is_told_by_its_key():
    with pytest.raises(ValueError, match=r"^embedding_dim: expected 1 or more, got 0"):
        SimCLR(spec(), TinyEncoder(), views(), NTXent(), embedding_dim=0)
