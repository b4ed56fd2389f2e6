"""A toy data set whose slices show nothing, a left patch or a right patch."""

from types import SimpleNamespace

import numpy as np
import torch

CLASSES = ("background", "left", "right")


class ContentData:
    """Three classes in turn; `only` makes every training slice show that one class."""

    spec = SimpleNamespace(classes=CLASSES)

    def __init__(self, only=None):
        self.only = only

    def train(self):
        """Thirty slices."""
        return Slices([self.only if self.only is not None else i % 3 for i in range(30)], seed=0)

    def test(self):
        """Two volumes of six slices; the second shows no right patch."""
        return [case("a", [0, 1, 2, 0, 1, 2], seed=1), case("b", [0, 1, 1, 0, 1, 0], seed=2)]


class Slices:
    """A data set of slices that show the given classes."""

    def __init__(self, shown, seed):
        self.images, self.labels = slices(shown, seed)

    def __len__(self):
        return len(self.labels)

    def __getitems__(self, indices):
        index = torch.as_tensor(list(indices))
        return SimpleNamespace(images=self.images[index], labels=self.labels[index])


class Brightness(torch.nn.Module):
    """Encoder: mean of each half of a slice, which tells the classes apart."""

    def forward(self, images):
        return torch.stack([images[..., :4].mean(dim=(1, 2, 3)), images[..., 4:].mean(dim=(1, 2, 3))], dim=1) + 0.1


class Blind(torch.nn.Module):
    """Encoder that sees nothing: the same two numbers for every slice."""

    def forward(self, images):
        return torch.ones(len(images), 2)


def slices(shown, seed):
    """Images (n, 1, 8, 8) and labels (n, 8, 8) of slices that show the given classes."""
    labels = torch.zeros(len(shown), 8, 8, dtype=torch.long)
    for number, index in enumerate(shown):
        columns = {0: slice(0, 0), 1: slice(0, 4), 2: slice(4, 8)}[index]
        labels[number, 2:6, columns] = index
    noise = torch.rand(len(shown), 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    return (labels > 0)[:, None].float() + 0.05 * noise, labels


def case(name, shown, seed):
    """A test volume whose native grid is that of its slices."""
    images, labels = slices(shown, seed)
    record = SimpleNamespace(cut_native=lambda native: native)
    return SimpleNamespace(id=name, images=images, labels=np.asarray(labels), record=record)
