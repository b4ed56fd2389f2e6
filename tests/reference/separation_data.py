"""A toy contrastive set whose pixels are its factors, and encoders that read them."""

from types import SimpleNamespace
from typing import NamedTuple

import torch

from medgraph.data.grouped import Attribute, GroupedImages


class Parts(NamedTuple):
    """Features by name."""

    common: torch.Tensor
    salient: torch.Tensor


class SplitEncoder(torch.nn.Module):
    """Common: the first two pixels. Salient: the other two."""

    def parts(self, images):
        """Both parts."""
        flat = images.flatten(1)
        return Parts(common=flat[:, :2], salient=flat[:, 2:])


class Blind(torch.nn.Module):
    """The same two numbers for every image."""

    def parts(self, images):
        """Both parts."""
        ones = torch.ones(len(images), 2)
        return Parts(common=ones, salient=ones)


class Whole(torch.nn.Module):
    """All four pixels as one space."""

    def forward(self, images):
        return images.flatten(1)


class FactorData:
    """Pixels: age, noise, radius (targets only), kind (targets only, 0 or 3)."""

    attributes = (
        Attribute("age", "common"),
        Attribute("radius", "salient"),
        Attribute("kind", "salient", 2),
    )

    def __init__(self, n=200, change=None):
        self.n, self.change = n, change

    def _part(self, seed):
        rng = torch.Generator().manual_seed(seed)
        is_target = torch.arange(self.n) % 2 == 1
        age, noise, radius = torch.randn(3, self.n, generator=rng)
        kind = torch.randint(0, 2, (self.n,), generator=rng).float()
        pixels = torch.stack([age, noise, (radius + 4) * is_target, 3 * kind * is_target], dim=1)
        attributes = torch.stack([age, radius, kind], dim=1)
        attributes[~is_target, 1:] = torch.nan
        if self.change is not None:
            self.change(attributes)
        images = pixels.view(-1, 1, 2, 2)
        return GroupedImages(lambda rows: images[rows], is_target, attributes, torch.arange(self.n) // 2, "toy")

    def train(self):
        """One draw."""
        return self._part(1)

    def test(self):
        """Another one."""
        return self._part(2)


def scores_of(encoder, data, **settings):
    """Rows by (case, label), as SeparationScores gives them."""
    from medgraph.evaluation.separation import SeparationScores

    found = SeparationScores(**settings).evaluate(SimpleNamespace(encoder=encoder), data)
    return {(row["case"], row["label"]): row for row in found.rows}, found
