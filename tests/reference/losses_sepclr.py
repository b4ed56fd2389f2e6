"""SepCLR's terms one pair at a time, in double precision."""

import math

import torch
from torch import Tensor


def kernel(a: Tensor, b: Tensor, bandwidth: float) -> float:
    """exp(-|a - b|^2 / (2 bandwidth))."""
    return math.exp(-float((a - b).square().sum()) / (2 * bandwidth))


def loop_salient_batch(salient: Tensor, is_target: Tensor, bandwidth: float) -> float:
    """The expansion of the batch form: counts within the background, pairs with s', pairs of targets."""
    targets = salient[is_target]
    n_b, n = int((~is_target).sum()), len(salient)
    zero = torch.zeros_like(salient[0])
    total = n_b * (n_b - 1) + 2 * n_b * math.fsum(kernel(s, zero, bandwidth) for s in targets)
    total += math.fsum(
        kernel(targets[i], targets[j], bandwidth) for i in range(len(targets)) for j in range(len(targets)) if i != j
    )
    return math.log(total / (n * (n - 1)))


def loop_salient_target(salient: Tensor, is_target: Tensor, bandwidth: float) -> float:
    """The target form, self included."""
    targets, zero = salient[is_target], torch.zeros_like(salient[0])
    total = math.fsum(kernel(a, zero, bandwidth) + math.fsum(kernel(a, b, bandwidth) for b in targets) for a in targets)
    return math.log(total / (len(targets) * (len(targets) + 1)))


def loop_log_density(salient: Tensor, mean: Tensor, log_variance: Tensor) -> float:
    """log N(s; mean, diag exp(log_variance)) of one row."""
    return -0.5 * math.fsum(
        (float(s) - float(m)) ** 2 / math.exp(float(v)) + float(v) + math.log(2 * math.pi)
        for s, m, v in zip(salient, mean, log_variance, strict=True)
    )


def loop_mmd(first: Tensor, second: Tensor, rates: list[float]) -> float:
    """Squared maximum mean discrepancy, self pairs included."""

    def mean(a: Tensor, b: Tensor, rate: float) -> float:
        return math.fsum(kernel(x, y, 1 / (2 * rate)) for x in a for y in b) / (len(a) * len(b))

    return math.fsum(mean(first, first, r) + mean(second, second, r) - 2 * mean(first, second, r) for r in rates)


def matrix_alignment(common: Tensor, salient: Tensor) -> float:
    """Centered kernel alignment by whole matrices, median bandwidths."""
    centered = []
    for codes in (common, salient):
        distances = torch.stack([torch.stack([(a - b).square().sum() for b in codes]) for a in codes])
        median = distances.triu(1)[distances.triu(1) > 0].median()
        h = torch.eye(len(codes), dtype=codes.dtype) - 1 / len(codes)
        centered.append(h @ torch.exp(-distances / median) @ h)
    a, b = centered
    return float((a * b).sum() / (a.square().sum() * b.square().sum()).sqrt())


def loop_attribute_alignment(salient: Tensor, attribute: Tensor, bandwidth: float) -> float:
    """Weighted mean squared distance over pairs i < j."""
    total = weight = 0.0
    for i in range(len(salient)):
        for j in range(i + 1, len(salient)):
            gap = float(attribute[i] - attribute[j])
            w = float(gap == 0) if bandwidth == 0 else math.exp(-(gap**2) / (2 * bandwidth))
            total += w * float((salient[i] - salient[j]).square().sum())
            weight += w
    return total / weight


def loop_joint_entropy(
    common: Tensor,
    salient: Tensor,
    bandwidths: tuple[float, float],
    fixed: tuple[Tensor, Tensor] | None = None,
    include_self: bool = True,
) -> Tensor:
    """k-JEM with a gradient; `fixed` are further columns."""
    columns = list(zip(common, salient, strict=True))
    further = [] if fixed is None else list(zip(*fixed, strict=True))
    rows = []
    for i, (c, s) in enumerate(columns):
        others = [pair for j, pair in enumerate(columns) if include_self or j != i] + further
        kernels = [
            torch.exp(-(c - d).square().sum() / (2 * bandwidths[0]) - (s - t).square().sum() / (2 * bandwidths[1]))
            for d, t in others
        ]
        rows.append(torch.stack(kernels).mean().log())
    return torch.stack(rows).mean()
