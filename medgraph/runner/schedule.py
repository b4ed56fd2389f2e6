"""Learning-rate schedules: a factor on each group's peak rate, from the share of training done."""

import math

from medgraph import checks


class Cosine:
    """Linear warm-up from 0, then half a cosine down to `final_fraction` (SGDR without restarts).

    Args:
        warmup_fraction: Share of all steps spent warming up.
        final_fraction: Factor at the last step.
    """

    def __init__(self, warmup_fraction: float = 0.1, final_fraction: float = 0.0):
        self.warmup_fraction = checks.fraction("warmup_fraction", warmup_fraction)
        self.final_fraction = checks.fraction("final_fraction", final_fraction)

    def factor(self, step: int, num_steps: int) -> float:
        """Factor for optimiser step `step` (0-based) of `num_steps`."""
        warmup = round(self.warmup_fraction * num_steps)
        if step < warmup:
            return (step + 1) / warmup
        done = (step - warmup) / max(1, num_steps - 1 - warmup)
        return self.final_fraction + (1 - self.final_fraction) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


class Constant:
    """The peak rate throughout, after a linear warm-up.

    Args:
        warmup_fraction: Share of all steps spent warming up.
    """

    def __init__(self, warmup_fraction: float = 0.0):
        self.warmup_fraction = checks.fraction("warmup_fraction", warmup_fraction)

    def factor(self, step: int, num_steps: int) -> float:
        """Factor for optimiser step `step` (0-based) of `num_steps`."""
        warmup = round(self.warmup_fraction * num_steps)
        return (step + 1) / warmup if step < warmup else 1.0
