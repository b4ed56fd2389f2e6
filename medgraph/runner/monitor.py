"""The collapse watch: does the encoder still tell examples apart?"""

import math

import torch
from torch import Tensor

from medgraph.losses import diagnostics


class CollapseWatch:
    """Numbers and warnings about collapse, from one step's embeddings and prototype scores.

    A constant embedding gives uniform codes, so SwAV's loss cannot fall below ln K: hovering there is the alarm. Far
    above it, codes are sharp and not yet foretold, as at the start of DeepCluster: that is no collapse.

    Args:
        patience: Steps before anything is judged.
        looks: Looks in a row that an alarm rings before it is told.
    """

    def __init__(self, patience: int = 50, looks: int = 3):
        self.patience, self.looks = patience, looks
        self._rung: dict[int, int] = {}
        self._said: set[int] = set()

    @torch.no_grad()
    def observe(self, step: int, loss: float, embeddings: Tensor, scores: Tensor) -> tuple[dict[str, float], list[str]]:
        """Metrics of this step, and warnings that were not given before.

        Args:
            step: Optimiser step.
            loss: The step's loss.
            embeddings: Unit rows (n, d).
            scores: Scores against the K prototypes (n, K).
        """
        rank = float(diagnostics.effective_rank(embeddings.float()))
        num_prototypes = scores.shape[1]
        used = scores.argmax(dim=1).unique().numel() / min(num_prototypes, len(scores))
        above = loss - math.log(num_prototypes)
        alarms = {
            "the loss stays at ln K: codes are uniform, which is what collapsed embeddings give": -0.01 < above < 0.05,
            f"the embeddings fill {rank:.1f} directions only: they are collapsing": rank < 2,
            f"{used:.0%} of the prototypes are used: most clusters are empty": used < 0.05,
        }
        messages = []
        for kind, (message, rings) in enumerate(alarms.items()):
            self._rung[kind] = self._rung.get(kind, 0) + 1 if rings else 0
            if step >= self.patience and self._rung[kind] >= self.looks and kind not in self._said:
                self._said.add(kind)
                messages.append(message + ". Lower the learning rate, or the number of prototypes.")
        return {"loss_minus_ln_k": above, "effective_rank": rank, "used_prototypes": used}, messages
