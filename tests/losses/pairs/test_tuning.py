import pytest

from medgraph.losses.pairs import tuning


@pytest.mark.parametrize(("number", "expected"), [(0, 1), (1, 1), (2, 2), (3, 4), (4, 4), (200, 256), (4097, 8192)])
def test_sizes_count_by_the_power_of_two_above_them(number, expected):
    assert tuning.bucket(number) == expected


def test_the_fastest_is_found_once_for_each_key(monkeypatch):
    clock, runs = [0.0], []
    monkeypatch.setattr(tuning, "_chosen", {})
    monkeypatch.setattr(tuning.time, "perf_counter", lambda: clock[0])

    def lasting(seconds):
        def run():
            runs.append(seconds)
            clock[0] += seconds

        return run

    tries = [lasting(3.0), lasting(1.0), lasting(2.0)]
    assert tuning.fastest("first", tries) == 1
    assert len(runs) == 3 * (1 + tuning.REPEATS)
    assert tuning.fastest("first", tries[::-1]) == 1
    assert len(runs) == 3 * (1 + tuning.REPEATS)
    assert tuning.fastest("second", tries[::-1]) == 1
    assert len(runs) == 6 * (1 + tuning.REPEATS)
