"""Run a pairwise loss on the whole matrix and on tiles of several sizes."""

from functools import partial

import pytest

from medgraph.losses import pairs


@pytest.fixture(params=[None, 1, 7, 100], ids=["dense", "tile1", "tile7", "tile100"])
def any_tile(request, monkeypatch):
    """Every call of `pair_lse` uses this tile; the first case is the whole matrix."""
    options = {"backend": "dense"} if request.param is None else {"backend": "tiled", "tile": request.param}
    monkeypatch.setattr(pairs, "pair_lse", partial(pairs.pair_lse, **options))
