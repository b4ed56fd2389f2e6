"""SalientUniformity: the target's salient codes spread out, away from the information-less vector (SepCLR)."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from medgraph import checks
from medgraph.losses import inputs
from medgraph.losses.loss import Loss
from medgraph.losses.uniformity import Uniformity


class SalientUniformity(Loss):
    """Log of the mean Gaussian kernel among target codes s_i and the information-less vector s' = 0 [1].

    batch:   log 1/(n(n-1)) sum_{i != j} k(s~_i, s~_j),  s~ = s on the n_t targets and s' on the background.
    target:  log 1/(n_t(n_t+1)) sum_{i in targets} [ k(s_i, s') + sum_{j in targets} k(s_i, s_j) ],  j = i included.
    target_only:  log 1/n_t^2 sum_{i, j in targets} k(s_i, s_j),  j = i included: s' repels nothing, an ablation.

    Salient codes are not normalized, so only a floor keeps them from growing without end, see `floor`. Background rows
    get no gradient. Fixed points, e.g. codes of past batches, are further j of every i. No target gives 0, and so does
    a batch form without two background rows, which then had no floor. Sums run in double precision: codes grow, and in
    single precision the distances of far-away codes lose the floor's digits.

    [1] Louiset et al., 2024, arXiv:2402.11928.

    Args:
        bandwidth: Variance of the kernel; smaller feels only near neighbors.
        form: "batch", where s' weighs as much as there is background; "target", where it weighs as one target; or
            "target_only", where it has no weight.

    Example:
        >>> salient, is_target = torch.tensor([[5.0], [0.0], [0.0]]), torch.tensor([True, False, False])
        >>> round(SalientUniformity()(salient, is_target).item(), 4)  # two of six pairs lie within the background
        -1.0986
    """

    def __init__(self, bandwidth: float = 0.5, form: str = "batch"):
        super().__init__()
        if form == "target_without_self":
            raise ValueError(
                "form: 'target_without_self' has no floor, it falls without end as the codes grow; "
                "use 'target', which counts each code as its own neighbor, or 'batch'"
            )
        self.form = checks.one_of("form", form, ("batch", "target", "target_only"))
        self.bandwidth = checks.positive("bandwidth", bandwidth)
        self.uniformity = Uniformity(bandwidth, include_self=self.form != "batch")

    def forward(
        self,
        salient: Float[Tensor, "n s"],
        is_target: Bool[Tensor, " n"],
        fixed: Float[Tensor, "m s"] | None = None,
        fixed_is_target: Bool[Tensor, " m"] | None = None,
    ) -> Float[Tensor, ""]:
        inputs.check_groups(is_target, salient=salient)
        if not is_target.any():
            inputs.warn_of_zero(f"none of {len(salient)} examples is a target")
        codes, dtype = salient.double(), torch.promote_types(salient.dtype, torch.float32)
        held = codes.new_zeros(0, codes.shape[1]) if fixed is None else fixed.double()
        of_target = is_target.new_zeros(0) if fixed_is_target is None else fixed_is_target
        inputs.check_groups(of_target, fixed=held)
        inputs.same_width(salient=salient, fixed=held)
        if self.form == "batch":
            if self.floor(is_target, fixed_is_target) == 0:
                return codes[:0].sum().to(dtype)
            points, others = clamped(codes, is_target), clamped(held, of_target)
        else:
            points, others = codes[is_target], held[of_target]
            if self.form == "target":
                others = torch.cat([others, others.new_zeros(1, others.shape[1])])
        return self.uniformity(points, fixed=others if len(others) else None).to(dtype)

    def floor(self, is_target: Bool[Tensor, " n"], fixed_is_target: Bool[Tensor, " m"] | None = None) -> float:
        """The least value that codes of these groups can reach; 0 where the loss is 0 whatever the codes.

        batch: log of the share of pairs within the background; target: -log(n_t + 1), target_only: -log n_t.
        """
        n, n_t = len(is_target), int(is_target.sum())
        m, m_t = (0, 0) if fixed_is_target is None else (len(fixed_is_target), int(fixed_is_target.sum()))
        if n_t == 0:
            return 0.0
        if self.form != "batch":
            return -math.log(n_t + m_t + (self.form == "target"))
        within = (n - n_t) * (n - n_t - 1 + m - m_t)  # pairs of a background row with another one
        return math.log(within / (n * (n - 1 + m))) if within > 0 else 0.0

    def extra_repr(self) -> str:
        return f"bandwidth={self.bandwidth}, form={self.form}"


def clamped(salient: Float[Tensor, "n s"], is_target: Bool[Tensor, " n"]) -> Float[Tensor, "n s"]:
    """s~: the salient codes of targets, and the information-less vector 0, without gradient, for the background."""
    return torch.where(is_target[:, None], salient, torch.zeros_like(salient))
