"""KernelJointEntropy: SepCLR's k-JEM with its options, as a term that keeps the two codes apart."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from medgraph import checks
from medgraph.losses import inputs
from medgraph.losses.gaussian_kernel import median_bandwidth
from medgraph.losses.independence import Independence
from medgraph.losses.joint_entropy import JointEntropy


class KernelJointEntropy(Independence):
    """Minus the kernel estimate of the joint entropy of both codes [1], see `JointEntropy`; from -log n to 0.

    Raising H(c, s) spreads the common code within each neighborhood of the salient one. It saturates: once the salient
    codes of targets are far apart on the scale of their bandwidth, nothing moves; `self_share` then is near 1. Sums run
    in double precision, as salient codes may lie far apart. Fixed points, e.g. codes of past batches, repel as well;
    m of them move the lower bound to -log(n + m).

    [1] Louiset et al., 2024, arXiv:2402.11928.

    Args:
        common_bandwidth: Variance of the kernel on the common code.
        salient_bandwidth: The same for the salient code.
        bandwidth: "fixed" takes the two numbers as they are; "median" multiplies each by the median squared distance
            of its codes (not of fixed points), detached, so that the term does not saturate as the codes grow.
        targets_only: Leave the background out of the estimate.

    Example:
        >>> codes, is_target = torch.eye(2), torch.tensor([True, True])
        >>> round(KernelJointEntropy()(codes, codes, is_target).item(), 4)
        -0.675
    """

    takes_fixed = True

    def __init__(
        self,
        common_bandwidth: float = 0.5,
        salient_bandwidth: float = 0.5,
        bandwidth: str = "fixed",
        targets_only: bool = False,
    ):
        super().__init__()
        self.common_bandwidth = checks.positive("common_bandwidth", common_bandwidth)
        self.salient_bandwidth = checks.positive("salient_bandwidth", salient_bandwidth)
        self.bandwidth = checks.one_of("bandwidth", bandwidth, ("fixed", "median"))
        self.targets_only = targets_only
        self.entropy = JointEntropy(common_bandwidth, salient_bandwidth)

    def forward(
        self,
        common: Float[Tensor, "n c"],
        salient: Float[Tensor, "n s"],
        is_target: Bool[Tensor, " n"],
        fixed_common: Float[Tensor, "m c"] | None = None,
        fixed_salient: Float[Tensor, "m s"] | None = None,
        fixed_is_target: Bool[Tensor, " m"] | None = None,
    ) -> Float[Tensor, ""]:
        inputs.check_groups(is_target, common=common, salient=salient)
        dtype = torch.promote_types(common.dtype, torch.float32)
        fixed = fixed_common, fixed_salient, fixed_is_target
        return self.entropy(*self._points(common, salient, is_target, *fixed)).to(dtype)

    @torch.no_grad()
    def self_share(
        self,
        common: Float[Tensor, "n c"],
        salient: Float[Tensor, "n s"],
        is_target: Bool[Tensor, " n"],
        fixed_common: Float[Tensor, "m c"] | None = None,
        fixed_salient: Float[Tensor, "m s"] | None = None,
        fixed_is_target: Bool[Tensor, " m"] | None = None,
    ) -> Float[Tensor, ""]:
        """Mean share of each target's kernel mass that lies on itself; above 0.9 the term is inactive."""
        fixed = fixed_common, fixed_salient, fixed_is_target
        shares = self.entropy.self_shares(*self._points(common, salient, is_target, *fixed))
        chosen = shares if self.targets_only else shares[is_target]
        return chosen.mean() if len(chosen) else shares.new_ones(())

    def _points(
        self,
        common: Tensor,
        salient: Tensor,
        is_target: Tensor,
        fixed_common: Tensor | None,
        fixed_salient: Tensor | None,
        fixed_is_target: Tensor | None,
    ) -> tuple[Tensor, ...]:
        """Both codes that count in double precision, scaled; then those of the fixed points, if there are any."""
        codes = [common.double(), salient.double()]
        fixed = [] if fixed_common is None or fixed_salient is None else [fixed_common.double(), fixed_salient.double()]
        if fixed:
            if fixed_is_target is None:
                raise ValueError("fixed_is_target: expected the group of each fixed point, got None")
            inputs.check_groups(fixed_is_target, fixed_common=fixed[0], fixed_salient=fixed[1])
        if self.targets_only:
            codes, fixed = [x[is_target] for x in codes], [x[fixed_is_target] for x in fixed]
        if self.bandwidth == "median":
            scales = [1 / math.sqrt(2 * median_bandwidth(x)) for x in codes]  # median squared distance 1
            codes = [x * scale for x, scale in zip(codes, scales, strict=True)]
            fixed = [x * scale for x, scale in zip(fixed, scales, strict=False)]
        return (*codes, *fixed)

    def extra_repr(self) -> str:
        return f"bandwidth={self.bandwidth}, targets_only={self.targets_only}"
