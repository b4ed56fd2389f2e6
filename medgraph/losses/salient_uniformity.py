"""SalientUniformity: the target's salient codes spread out, away from the information-less vector (SepCLR)."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from medgraph import checks
from medgraph.losses import inputs
from medgraph.losses.uniformity import Uniformity


class SalientUniformity(nn.Module):
    """Log of the mean Gaussian kernel among target codes s_i and the information-less vector s' = 0 [1].

    batch:   log 1/(n(n-1)) sum_{i != j} k(s~_i, s~_j),  s~ = s on the n_t targets and s' on the background.
    target:  log 1/(n_t(n_t+1)) sum_{i in targets} [ k(s_i, s') + sum_{j in targets} k(s_i, s_j) ],  j = i included.

    Salient codes are not normalized, so only a floor keeps them from growing without end: the batch form has the log of
    the share of pairs within the background, the target form has -log(n_t + 1). Background rows get no gradient. No
    target gives 0, and so do fewer than two background rows in the batch form, which then had no floor. Sums run in
    double precision: codes grow, and in single precision the distances of far-away codes lose the floor's digits.

    [1] Louiset et al., 2024, arXiv:2402.11928.

    Args:
        bandwidth: Variance of the kernel; smaller feels only near neighbors.
        form: "batch", where s' weighs as much as there is background; or "target", where it weighs as one target.

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
        self.form = checks.one_of("form", form, ("batch", "target"))
        self.bandwidth = checks.positive("bandwidth", bandwidth)
        self.uniformity = Uniformity(bandwidth, include_self=self.form == "target")

    def forward(self, salient: Float[Tensor, "n s"], is_target: Bool[Tensor, " n"]) -> Float[Tensor, ""]:
        inputs.check_groups(is_target, salient=salient)
        if not is_target.any():
            inputs.warn_of_zero(f"none of {len(salient)} examples is a target")
        codes, dtype = salient.double(), torch.promote_types(salient.dtype, torch.float32)
        if self.form == "batch":
            has_floor = bool(is_target.any()) and int((~is_target).sum()) > 1
            return self.uniformity(clamped(codes, is_target)).to(dtype) if has_floor else codes[:0].sum().to(dtype)
        targets = codes[is_target]
        return self.uniformity(targets, fixed=targets.new_zeros(1, targets.shape[1])).to(dtype)

    def extra_repr(self) -> str:
        return f"bandwidth={self.bandwidth}, form={self.form}"


def clamped(salient: Float[Tensor, "n s"], is_target: Bool[Tensor, " n"]) -> Float[Tensor, "n s"]:
    """s~: the salient codes of targets, and the information-less vector 0, without gradient, for the background."""
    return torch.where(is_target[:, None], salient, torch.zeros_like(salient))
