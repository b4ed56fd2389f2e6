"""What a SepCLR training is watched by, from the codes of a batch and without any label but the group."""

import torch
from torch import Tensor

from medgraph.losses.hsic import HSIC
from medgraph.sepclr.batch import Codes

_RIDGE = 1e-2  # of the mean square of a standardized feature: two features that say the same then share their weight
_FEWEST = 4  # rows of a group, half of which a classifier is fitted on


@torch.no_grad()
def norms(codes: Codes) -> dict[str, Tensor]:
    """Mean length of the salient code by group: the background's should fall to a tenth or two of the target's."""
    lengths = codes.salient[0].norm(dim=1)
    groups = {"target_norm": codes.is_target, "background_norm": ~codes.is_target}
    return {name: lengths[rows].mean() for name, rows in groups.items() if rows.any()}


@torch.no_grad()
def separation(codes: Codes) -> dict[str, Tensor]:
    """How well both codes tell the groups apart, wanted high from the salient one and 0.5 from the common one; and how
    much they say about each other on targets. Of the first view; none of a batch too small.

    `dependence` is what `HSIC` is above that of pairs torn apart, the salient code being that of the next target: so
    the bias of a small batch drops out. It scatters around 0 for independent codes, a little below 0 as well.
    """
    seen = {}
    targets = int(codes.is_target.sum())
    if min(targets, len(codes.is_target) - targets) >= _FEWEST:
        seen["common_group_auc"] = group_auc(codes.common[0], codes.is_target)
        seen["salient_group_auc"] = group_auc(codes.salient[0], codes.is_target)
    if targets >= _FEWEST:
        seen["dependence"] = _dependence(codes.common[0][codes.is_target], codes.salient[0][codes.is_target])
    return seen


def _dependence(common: Tensor, salient: Tensor) -> Tensor:
    every = torch.ones(len(common), dtype=torch.bool, device=common.device)
    return HSIC()(common, salient, every) - HSIC()(common, salient.roll(1, dims=0), every)


@torch.no_grad()
def group_auc(features: Tensor, is_target: Tensor) -> Tensor:
    """Area under the ROC curve of a least-squares classifier, fitted on every other row of each group.

    It sees the features and their squared length, as a group around a point is told from the point by distance alone.

    Args:
        features: Codes (n, d).
        is_target: Group of each, `(n,)` bool; four or more of each.
    """
    x = features.double()
    x = torch.cat([x, x.square().sum(dim=1, keepdim=True)], dim=1)
    fitted = torch.zeros_like(is_target)
    for group in (is_target, ~is_target):
        fitted[group.nonzero()[::2, 0]] = True
    spread, mean = torch.std_mean(x[fitted], dim=0)
    x = (x - mean) / spread.clamp_min(1e-12)
    y = is_target[fitted].double()
    rows = x[fitted]
    square = rows.T @ rows + _RIDGE * len(rows) * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    scores = x[~fitted] @ torch.linalg.solve(square, rows.T @ (y - y.mean()))
    high, low = scores[is_target[~fitted]], scores[~is_target[~fitted]].sort().values
    below = [torch.searchsorted(low, high, right=right).double() for right in (False, True)]  # ties count half
    return (below[0] + below[1]).mean() / (2 * len(low))
