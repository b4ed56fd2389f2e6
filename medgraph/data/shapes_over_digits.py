"""Procedural shapes laid over a grid of digits: a contrastive set with known factors."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from medgraph import checks
from medgraph.data.digits import read_digits
from medgraph.data.grouped import Attribute, GroupedImages, no_validation
from medgraph.data.spec import ImageSpec
from medgraph.data.splits import kept_aside
from medgraph.errors import DataError

SHAPES = ("square", "ellipse", "heart")
_HANDS = 4  # digits of a grid, each by another one
_FACTORS = ("shape", "scale", "rotation", "x", "y")
_STREAMS = {"test": 0, "train": 1, "validation": 2}


class ShapesOverDigitsData:
    """Background: half of a 2 x 2 grid of one digit by four hands. Target: the same plus half of one filled shape.

    The salient factors are the shape (square, ellipse, heart), its scale (half an ellipse's width, as a share of the
    image's; a square has three quarters of it), rotation in radians, and place; the common one is the digit. Training
    and test draw on different digits. Each example is fixed by its number: nothing about it changes between two
    requests.

    Args:
        root: Folder with `mnist/`.
        size: Height and width, 32 or 64.
        num_examples: Training examples of each group.
        num_test: Test examples of each group.
        scale: Half the width of an ellipse, from and to.
        rotation: Largest rotation in radians; beyond a quarter of pi a square repeats itself.
        validation_share: Share of the training digits that is kept aside for `num_test` validation examples of each
            group.
    """

    attributes = (
        Attribute("shape", "salient", len(SHAPES)),
        *(Attribute(name, "salient") for name in _FACTORS[1:]),
        Attribute("digit", "common", 10),
    )

    def __init__(
        self,
        root: str,
        size: int = 32,
        num_examples: int = 4000,
        num_test: int = 1000,
        scale: tuple[float, float] = (0.12, 0.25),
        rotation: float = 0.785,
        validation_share: float = 0.0,
    ):
        self.root = root
        self.size = checks.one_of("size", size, (32, 64))
        self.num_examples = checks.at_least("num_examples", num_examples, 1)
        self.num_test = checks.at_least("num_test", num_test, 1)
        self.scale = checks.interval("scale", scale, 0.05, 0.4)
        self.rotation = checks.between("rotation", rotation, 0.0, math.pi)
        self.validation_share = checks.fraction("validation_share", validation_share)

    @property
    def spec(self) -> ImageSpec:
        """Facts from the settings alone."""
        names = tuple(a.name for a in self.attributes)
        return ImageSpec(2, 1, (self.size, self.size), 2 * self.num_examples, attributes=names)

    def train(self) -> GroupedImages:
        """`num_examples` of each group, on the first digits."""
        return self._part("train", self.num_examples)

    def validation(self) -> GroupedImages:
        """`num_test` of each group, on the training digits that were kept aside. Raises DataError."""
        if self.validation_share == 0:
            raise no_validation("shapes_over_digits")
        return self._part("validation", self.num_test)

    def test(self) -> GroupedImages:
        """`num_test` of each group, on the other digits."""
        return self._part("test", self.num_test)

    def _part(self, part: str, count: int) -> GroupedImages:
        digits, classes = read_digits(Path(self.root).expanduser() / "mnist", "test" if part == "test" else "train")
        if part != "test":
            aside = kept_aside(classes, self.validation_share)
            chosen = aside if part == "validation" else ~aside
            digits, classes = digits[chosen], classes[chosen]
        rng = np.random.default_rng([count, _STREAMS[part]])
        digit = rng.integers(10, size=2 * count)
        members = [np.flatnonzero(classes == number) for number in range(10)]
        fewest = min(range(10), key=lambda number: len(members[number]))
        if len(members[fewest]) < _HANDS:
            raise DataError(
                f"shapes_over_digits, {part}: {len(members[fewest])} digits of class {fewest}, expected {_HANDS} for "
                "a grid. Change data.validation_share, or fetch the digits again."
            )
        hands = np.stack([rng.choice(members[number], size=_HANDS, replace=False) for number in digit])  # (n, 4)
        is_target = np.arange(2 * count) >= count
        scale = rng.uniform(*self.scale, size=2 * count)
        factors = np.stack(
            [
                rng.integers(len(SHAPES), size=2 * count),
                scale,
                rng.uniform(-self.rotation, self.rotation, size=2 * count),
                *rng.uniform(-0.5 + scale, 0.5 - scale, size=(2, 2 * count)),
            ],
            axis=1,
        )

        def make(indices: Sequence[int]) -> Tensor:
            chosen = list(indices)
            images = 0.5 * grid_of(digits[hands[chosen]], self.size)
            drawn = 0.5 * draw_shapes(torch.from_numpy(factors[chosen]).float(), self.size)
            return images + torch.from_numpy(is_target[chosen]).float()[:, None, None, None] * drawn

        known = np.concatenate([np.where(is_target[:, None], factors, np.nan), digit[:, None]], axis=1)
        subjects = torch.arange(2 * count)
        return GroupedImages(make, torch.from_numpy(is_target), torch.from_numpy(known), subjects, "shapes_over_digits")


def grid_of(digits: np.ndarray, size: int) -> Tensor:
    """Images (n, 1, size, size) of four digits (n, 4, 28, 28) each, in reading order."""
    cells = torch.from_numpy(digits)
    if size == 32:
        cells = F.avg_pool2d(cells, 2)
    margin = (size // 2 - cells.shape[-1]) // 2
    cells = F.pad(cells, (margin, margin, margin, margin))
    rows = [torch.cat([cells[:, 2 * row], cells[:, 2 * row + 1]], dim=2) for row in range(2)]
    return torch.cat(rows, dim=1)[:, None]


def draw_shapes(factors: Tensor, size: int) -> Tensor:
    """Images (n, 1, size, size) of filled shapes with soft edges; factors (n, 5) are shape, scale, rotation, x, y."""
    shape, scale, angle, x, y = (column[:, None, None] for column in factors.unbind(dim=1))
    place = (torch.arange(size) + 0.5) / size - 0.5
    dx, dy = place[None, None, :] - x, place[None, :, None] - y
    u = (angle.cos() * dx + angle.sin() * dy) / scale
    v = (-angle.sin() * dx + angle.cos() * dy) / scale
    square = 0.75 - torch.maximum(u.abs(), v.abs())
    ellipse = 1 - (u.square() + (v / 0.5).square()).clamp_min(1e-6).sqrt()
    p, q = 1.25 * u, -1.25 * v
    body = p.square() + q.square() - 1
    heart = -(body**3 - p.square() * q**3) / (1 + body.square())
    inside = torch.where(shape == 0, square, torch.where(shape == 1, ellipse, heart))
    return torch.sigmoid(2 * size * scale * inside)[:, None]  # about one pixel from outside to inside
