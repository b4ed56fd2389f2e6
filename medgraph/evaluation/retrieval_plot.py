"""Pictures of the nearest neighbors of a few examples, in each of several feature spaces."""

import base64
import io
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

NUM_QUERIES, NUM_FOUND = 5, 4


def neighbors(
    features: np.ndarray, subjects: np.ndarray, queries: Sequence[int], count: int = NUM_FOUND
) -> list[list[int]]:
    """Positions of the nearest examples of other subjects, nearest first, for each query.

    Args:
        features: Features (n, d), each dimension weighing as it is.
        subjects: Subject of each example (n,): an example of the query's own subject is not found.
        queries: Positions of the queries.
        count: How many; fewer where there are fewer.
    """
    found = []
    for query in queries:
        distances = np.square(features - features[query]).sum(axis=1)
        distances[subjects == subjects[query]] = np.inf
        order = np.argsort(distances, kind="stable")[:count]
        found.append([int(n) for n in order if np.isfinite(distances[n])])
    return found


def plot_neighbors(
    spaces: Mapping[str, np.ndarray], subjects: np.ndarray, pictures: Callable[[Sequence[int]], np.ndarray]
) -> str:
    """PNG in base64: each row a query and, for each space, its nearest neighbors of other subjects.

    Args:
        spaces: Features (n, d) of the examples by name.
        subjects: Subject of each example (n,).
        pictures: Images (k, c, *size) of the examples at these positions; of volumes, the middle slice is shown.
    """
    queries = np.linspace(0, len(subjects) - 1, min(NUM_QUERIES, len(subjects))).astype(int).tolist()
    found = {"query": [[query] for query in queries]}
    found |= {name: neighbors(features, subjects, queries) for name, features in spaces.items()}
    shown = sorted({n for lists in found.values() for one in lists for n in one})
    image_of = {n: _flat(image) for n, image in zip(shown, pictures(shown), strict=True)}
    counts = {name: max(map(len, lists)) for name, lists in found.items()}
    widths = [max(count, 1) for count in counts.values()]
    figure = Figure(figsize=(0.9 * sum(widths), len(queries)), layout="constrained")
    grid = figure.add_gridspec(1, len(found), width_ratios=widths)
    for column, (name, lists) in enumerate(found.items()):
        axes = figure.add_subplot(grid[0, column])
        axes.set_axis_off()
        axes.set_title(name, fontsize=8, loc="left")
        if counts[name] > 0:
            axes.imshow(_mosaic(lists, counts[name], image_of), cmap="gray", vmin=0, vmax=1)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    return base64.b64encode(buffer.getvalue()).decode()


def _mosaic(lists: list[list[int]], count: int, image_of: dict[int, np.ndarray]) -> np.ndarray:
    """A row of images for each list, with a white pixel around each; missing ones are white."""
    blank = np.ones_like(next(iter(image_of.values())))
    rows = [[*(image_of[n] for n in one), *[blank] * (count - len(one))] for one in lists]
    edge = ((1, 1), (1, 1), *[(0, 0)] * (blank.ndim - 2))
    return np.concatenate(
        [np.concatenate([np.pad(image, edge, constant_values=1) for image in row], axis=1) for row in rows]
    )


def _flat(image: np.ndarray) -> np.ndarray:
    """Pixels (h, w) or (h, w, 3) in [0, 1] of an image (c, h, w), or of the last axis' middle slice of a volume."""
    if image.ndim == 4:
        return np.clip(image[0, :, :, image.shape[-1] // 2], 0, 1).T[::-1]
    pixels = np.clip(image, 0, 1)
    return pixels.transpose(1, 2, 0) if len(pixels) == 3 else pixels[0]
