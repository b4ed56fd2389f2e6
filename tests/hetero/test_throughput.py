import time

import pytest

from medgraph.hetero.throughput import Throughput


def test_nodes_over_the_time_since_the_last_press(monkeypatch):
    now = iter([10.0, 12.0, 12.5])
    monkeypatch.setattr(time, "perf_counter", lambda: next(now))
    clock = Throughput()
    assert clock.nodes_per_second(100) is None
    assert clock.nodes_per_second(100) == pytest.approx(50)
    assert clock.nodes_per_second(100) == pytest.approx(200)
