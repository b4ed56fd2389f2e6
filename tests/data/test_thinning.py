import numpy as np
import pytest

from medgraph.data.thinning import every_nth

GROUPS = np.repeat([4, 0, 9], [7, 1, 12])


@pytest.mark.parametrize("stride", [2, 3, 5])
def test_shown_neighbours_lie_a_stride_apart_and_all_come_up(stride):
    seen = np.zeros(len(GROUPS), dtype=int)
    for epoch in range(60):
        shown = every_nth(GROUPS, stride, seed=3, epoch=epoch)
        for name in np.unique(GROUPS):
            places = np.flatnonzero(shown & (name == GROUPS))
            assert (np.diff(places) == stride).all()
            assert len(places) == max(1, (name == GROUPS).sum() // stride)  # epochs are of one length
        seen += shown
    assert seen.min() > 0


def test_a_stride_of_1_shows_all():
    assert every_nth(GROUPS, 1, seed=0, epoch=0).all()


def test_the_start_depends_on_seed_and_epoch_alone():
    drawn = [every_nth(GROUPS, 4, seed, epoch).tolist() for seed, epoch in ((0, 0), (0, 0), (0, 1), (1, 0))]
    assert drawn[0] == drawn[1]
    assert drawn[0] not in drawn[2:]
