import pytest
import torch
from spawned import run_in_processes

from medgraph import processes


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 3])
def test_exchanges_between_processes(world, tmp_path):
    run_in_processes("reference.process_checks", "check_all", world, tmp_path)


@pytest.mark.slow
def test_a_failing_check_is_seen(tmp_path):
    with pytest.raises(AssertionError, match="cannot import name"):
        run_in_processes("reference.process_checks", "no_such_check", 1, tmp_path)


def test_alone_nothing_is_exchanged(rng):
    x = torch.randn(3, 2, generator=rng)
    assert (processes.world_size(), processes.rank()) == (1, 0)
    assert processes.counts(x) == [3]
    assert processes.gather(x) is x
    assert processes.total(x) is x
    for reduce in (processes.all_reduce_sum, processes.all_reduce_max):
        torch.testing.assert_close(reduce(x), x, rtol=0, atol=0)
        assert reduce(x) is not x
