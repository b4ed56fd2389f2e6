"""RelationalDistillation: the student finds the same examples similar as the teacher does."""

import torch
from jaxtyping import Float
from torch import Tensor

from medgraph import checks
from medgraph.losses import everyone, pairs
from medgraph.losses.anchors import ContrastiveLoss, unit
from medgraph.losses.pairs.softmax import softmax
from medgraph.losses.pairs.terms import ExcludeSameId


class RelationalDistillation(ContrastiveLoss):
    """Match the similarities of a batch under a student and a frozen teacher, whatever the widths of the two.

    softmax: mean_i [ logsumexp_{j != i} x_ij - sum_{j != i} P_ij x_ij ],  x = student cosine / temperature,
             P_i = softmax_{j != i}(teacher cosine / teacher_temperature): cross-entropy of the two softmaxes [1]
    score:   mean_i mean_{j != i} (student cosine_ij - teacher cosine_ij)^2 [2]

    For example a volume encoder as teacher of a slice encoder. A single example has no other: the loss is 0. Memory is
    linear: the teacher's softmax is formed tile by tile.

    [1] Fang et al., 2021, arXiv:2101.04731, Eq. 5. [2] Park et al., 2019, arXiv:1904.05068, for the idea.

    Args:
        temperature: Divides the student's scores in "softmax".
        teacher_temperature: Divides the teacher's; smaller passes on only its nearest neighbors.
        measure: "softmax" passes on who is nearest; "score" every cosine alike, and uses no temperature.
        reduction: "mean" or "sum" over the valid anchors, or "none": one value each, 0 where invalid.
        dist: "gather" compares with the examples of all processes, None with those of this one. The teacher's softmax
            needs the sums of whole rows first, so one trip round a ring is not enough.

    Example:
        >>> loss = RelationalDistillation(measure="score")(torch.eye(4), torch.eye(4, 9))
        >>> loss.item()
        0.0
    """

    def __init__(
        self,
        temperature: float = 0.1,
        teacher_temperature: float = 0.1,
        measure: str = "softmax",
        reduction: str = "mean",
        dist: str | None = None,
    ):
        super().__init__()
        self.temperature = checks.positive("temperature", temperature)
        self.teacher_temperature = checks.positive("teacher_temperature", teacher_temperature)
        self.measure = checks.one_of("measure", measure, ("softmax", "score"))
        self.reduction = checks.one_of("reduction", reduction, ("mean", "sum", "none"))
        self.dist = checks.one_of("dist", dist, (None, "gather"))

    def forward(self, student: Float[Tensor, "n d"], teacher: Float[Tensor, "n t"]) -> Float[Tensor, "..."]:
        checks.same_length(student=student, teacher=teacher)
        student, teacher = unit(student, "student"), unit(teacher.detach(), "teacher")
        students, teachers = (
            everyone.rows(student, self.dist),
            everyone.rows(teacher, self.dist),
        )  # those of all processes
        ids = everyone.ids(student, self.dist)
        others = ExcludeSameId(ids, everyone.rows(ids, self.dist))
        if self.measure == "score":
            queries, keys = torch.cat([student, teacher], dim=1), torch.cat([students, -teachers], dim=1)
            total = pairs.pair_sum(queries, keys, phi="square", terms=(others,))
            valid = torch.full((len(student),), len(students) > 1, device=student.device)
            return self.reduce(total / max(len(students) - 1, 1), valid, "other example")
        scale = 1 / self.temperature
        denominator = pairs.pair_lse(student, students, scale=scale, terms=(others,))[0]
        shares = softmax(teacher, teachers, scale=1 / self.teacher_temperature, terms=(others,))
        positive = pairs.pair_sum(student, students, phi="identity", scale=scale, terms=(shares, others))
        valid = denominator.isfinite()
        return self.reduce(denominator - positive, valid, "other example", positive=positive, denominator=denominator)
