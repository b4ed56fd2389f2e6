"""MMD: background and target have the same common codes, as kernels of many widths see them."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from medgraph import checks
from medgraph.losses import inputs
from medgraph.losses.gaussian_kernel import log_kernel_sums
from medgraph.losses.independence import Independence


class MMD(Independence):
    """Squared maximum mean discrepancy of the common codes of background and target [1], self pairs included.

    sum over rates r of  mean k_r(c_b, c_b') + mean k_r(c_t, c_t') - 2 mean k_r(c_b, c_t),  k_r = exp(-r |a - b|^2)

    It matches distributions and is no measure of dependence; the salient code takes no part. Memory linear in n, sums
    in double precision, which the largest rates need. An empty group gives 0.

    [1] Gretton et al., 2012, JMLR 13, Eq. 5; the rates are those of Abid and Zou, 2019, arXiv:1902.04601.

    Args:
        exponents: Rates are 10 to these powers, in whole steps from the first to the last.

    Example:
        >>> MMD()(torch.ones(4, 2), torch.ones(4, 2), torch.tensor([True, True, False, False])).item()
        0.0
    """

    moves_salient = False

    def __init__(self, exponents: tuple[int, int] = (-6, 6)):
        super().__init__()
        low, high = checks.interval("exponents", exponents)
        if low != int(low) or high != int(high):
            raise ValueError(f"exponents: expected whole numbers, got {exponents!r}")
        self.exponents = int(low), int(high)
        self.rates = tuple(10.0**power for power in range(int(low), int(high) + 1))

    def forward(
        self, common: Float[Tensor, "n c"], salient: Float[Tensor, "n s"], is_target: Bool[Tensor, " n"]
    ) -> Float[Tensor, ""]:
        inputs.check_groups(is_target, common=common, salient=salient)
        dtype = torch.promote_types(common.dtype, torch.float32)
        target, background = common[is_target].double(), common[~is_target].double()
        if min(len(target), len(background)) == 0:
            empty = "background" if len(target) else "a target"
            inputs.warn_of_zero(f"none of {len(common)} examples is {empty}")
            return common[:0].sum().to(dtype)
        within = self._mean_kernel(background, background) + self._mean_kernel(target, target)
        return (within - 2 * self._mean_kernel(background, target)).sum().to(dtype)

    def _mean_kernel(self, first: Tensor, second: Tensor) -> Tensor:
        keys = None if second is first else second
        return torch.exp(log_kernel_sums(first, keys, self.rates)).mean(dim=1) / len(second)  # (rates,)
