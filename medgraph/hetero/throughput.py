"""Throughput: nodes trained on per second, from one step to the next."""

import time


class Throughput:
    """A clock that each training step presses once; the first press starts it."""

    def __init__(self) -> None:
        self._last: float | None = None

    def nodes_per_second(self, num_nodes: int) -> float | None:
        """Nodes of this step over the seconds since the step before; None at the first."""
        now = time.perf_counter()
        last, self._last = self._last, now
        return None if last is None else num_nodes / max(now - last, 1e-9)
