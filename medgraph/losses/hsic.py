"""HSIC: dependence of the two codes on the target, by centered kernels."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from medgraph.losses import inputs
from medgraph.losses.gaussian_kernel import log_kernel_sums, median_bandwidth
from medgraph.losses.independence import Independence

_SMALL = 1e-12  # below this a code is constant, and depends on nothing


class HSIC(Independence):
    """Centered kernel alignment of common and salient codes over the targets [1].

    hsic(K, L) / sqrt(hsic(K, K) hsic(L, L)),  hsic(K, L) = tr(K H L H) / n^2,  Gaussian K of c and L of s, whose
    bandwidths are the medians of the batch, without gradient.

    At most 1, for codes that are copies. The estimate is biased: independent codes give more than 0, and the more the
    fewer the examples and the wider the codes. Independent Gaussian codes of width 32 gave us 0.743 for n = 32, 0.268
    for n = 256 and 0.085 for n = 1024; of width 2, 0.020 for n = 300. So compare batches of one size only, or take off
    the same statistic of rows torn apart, as the monitor of SepCLR does.

    Memory linear in n, sums in double precision. Fewer than three targets, or codes that are all equal, give 0.

    [1] Gretton et al., 2005, ALT, Eq. 9; Cortes et al., 2012, JMLR 13, Eq. 3.

    Example:
        >>> codes = torch.tensor([[0.0], [1.0], [5.0]])
        >>> round(HSIC()(codes, codes, torch.ones(3, dtype=torch.bool)).item(), 4)
        1.0
    """

    def forward(
        self, common: Float[Tensor, "n c"], salient: Float[Tensor, "n s"], is_target: Bool[Tensor, " n"]
    ) -> Float[Tensor, ""]:
        inputs.check_groups(is_target, common=common, salient=salient)
        zero = common[:0].sum() + salient[:0].sum()
        if int(is_target.sum()) < 3:
            inputs.warn_of_zero(f"of {len(common)} examples fewer than 3 are targets")
            return zero
        points = [_unit_bandwidth(codes[is_target].double()) for codes in (common, salient)]
        both = _hsic(torch.cat(points, dim=1), points[0], points[1])
        own = [_hsic(2**0.5 * x, x, x) for x in points]  # the product of a kernel with itself has half the bandwidth
        if min(float(value.detach()) for value in own) < _SMALL:
            return zero
        return (both / (own[0] * own[1]).sqrt()).to(torch.promote_types(common.dtype, torch.float32))


def _unit_bandwidth(points: Tensor) -> Tensor:
    return points / (2 * median_bandwidth(points)) ** 0.5


def _hsic(together: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """hsic of two kernels; `together` are points whose kernel is their product."""
    n = len(first)
    product, a, b = (torch.exp(log_kernel_sums(points)[0]) / n for points in (together, first, second))  # (n,) means
    return product.mean() - 2 * (a * b).mean() + a.mean() * b.mean()
