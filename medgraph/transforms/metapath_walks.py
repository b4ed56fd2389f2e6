"""Numbers of path instances by random walks, for paths whose products are too large even in blocks."""

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
import torch

from medgraph.transforms.draws import uniforms


def walk_counts(steps: Sequence[sp.csr_matrix], targets: np.ndarray, walks: int, seed: int) -> sp.csr_matrix:
    """Estimated number of path instances from each of some targets to all, right on average.

    A walk takes one of the edges at each step evenly and weighs the product of their numbers, the inverse of its
    probability. What a target draws depends on (seed, target) only.

    Args:
        steps: 0/1 matrix of each step of the path.
        targets: Where walks start.
        walks: Walks of each target.
        seed: Draws them.
    """
    ids = torch.from_numpy(np.asarray(targets, dtype=np.int64))
    place = np.repeat(ids.numpy()[:, None], walks, axis=1)
    weight = np.full(place.shape, 1 / walks)
    for number, step in enumerate(steps):
        degree = np.diff(step.indptr)[place]
        chosen = (uniforms(seed, 0, ids, walks, stream=number).numpy() * degree).astype(np.int64)
        last = len(step.indices) - 1
        place = step.indices[np.minimum(step.indptr[place] + chosen, last)] if last >= 0 else np.zeros_like(place)
        weight *= degree  # 0 where a walk has nowhere to go
    rows = np.repeat(np.arange(len(ids)), walks)
    shape = (len(ids), steps[-1].shape[1])
    counts = sp.csr_matrix((weight.ravel(), (rows, place.ravel())), shape=shape)
    counts.eliminate_zeros()
    return counts
