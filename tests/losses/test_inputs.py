"""Inputs: what is refused names the argument; the losses that ask are in tests/contracts/test_every_loss.py."""

import pytest
import torch

from medgraph.losses import inputs


def test_good_inputs_pass():
    rows, list_ = torch.ones(3, 2), torch.arange(3)
    inputs.check_rows(first=rows, second=rows[:, :1])
    inputs.check_groups(list_ > 1, common=rows)
    inputs.check_lists(rows[:, 0], list_)  # true scores may be whole numbers
    inputs.same_width(first=rows, second=rows[:1])


def test_the_argument_is_named():
    with pytest.raises(ValueError, match=r"second: expected shape \(examples, dim\), got \(3,\)"):
        inputs.check_rows(first=torch.ones(3, 2), second=torch.ones(3))
    with pytest.raises(ValueError, match=r"targets: expected shape \(examples,\), got \(3, 1\)"):
        inputs.check_lists(torch.ones(3), torch.ones(3, 1))
    with pytest.raises(ValueError, match="expected the same length, got common: 3, salient: 2"):
        inputs.check_groups(torch.ones(3) > 0, common=torch.ones(3, 2), salient=torch.ones(2, 2))
    with pytest.raises(ValueError, match="expected the same width, got first: 2, second: 1"):
        inputs.same_width(first=torch.ones(3, 2), second=torch.ones(3, 1))


def test_the_warning_ends_alike():
    with pytest.warns(UserWarning, match="^none of 2 examples is a target: the loss of this batch is 0$"):
        inputs.warn_of_zero("none of 2 examples is a target")
