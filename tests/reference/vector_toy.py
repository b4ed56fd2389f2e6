"""A toy whose factors are known: three common and two salient numbers behind a fixed nonlinear layer.

As small as a contrastive analysis can be: two MLPs, two views by noise, and SepCLR itself as any config builds it.
"""

import numpy as np
import torch
from torch import nn

from medgraph.data.grouped import GroupedImages
from medgraph.data.spec import ImageSpec
from medgraph.evaluation.attribute_probe import ProbeData, probe_group, probe_number
from medgraph.losses.kernel_joint_entropy import KernelJointEntropy
from medgraph.method import Step
from medgraph.sepclr.encoder import CommonSalientEncoder
from medgraph.sepclr.sepclr import SepCLR

COMMON, SALIENT, SIZE = 3, 2, (4, 8)
_GAP, _NOISE, _GAIN = 0.3, 0.15, 2.0


class MLP(nn.Module):
    """Two hidden layers of 128 with batch norm."""

    out_dim, pyramid_dims, pyramid_strides = 128, (), ()

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(32, 128), nn.BatchNorm1d(128), nn.ReLU(),
            nn.Linear(128, 128), nn.BatchNorm1d(128), nn.ReLU(),
        )  # fmt: skip

    def forward(self, x):
        return self.layers(x)


class NoiseViews:
    """Two views by noise."""

    randomises = ()

    def draw(self, seed, epoch, ids, shape):
        """A seed for both views."""
        return [{"seed": torch.tensor(seed * 1_000_003 + epoch)}]

    def apply(self, images, record):
        """Two noisy copies."""
        rng = torch.Generator().manual_seed(int(record[0]["seed"]))
        return [images + _NOISE * torch.randn(images.shape, generator=rng) for _ in range(2)]


def draw(num: int, seed: int) -> GroupedImages:
    """Every other example is a target; attributes are its factors, common ones first."""
    rng = torch.Generator().manual_seed(seed)
    is_target = torch.arange(num) % 2 == 1
    common, salient = (2 * torch.rand(num, k, generator=rng) - 1 for k in (COMMON, SALIENT))
    salient = (salient + _GAP * salient.sign()) * is_target[:, None]
    fixed = torch.Generator().manual_seed(99)
    embedding = torch.linalg.qr(torch.randn(32, COMMON + SALIENT, generator=fixed)).Q
    layer = torch.linalg.qr(torch.randn(32, 32, generator=fixed)).Q
    factors = torch.cat([common, salient], dim=1)
    images = torch.tanh(_GAIN * factors @ embedding.T @ layer.T).view(num, 1, *SIZE)
    return GroupedImages(lambda rows: images[rows], is_target, factors, torch.arange(num), "vector toy")


def train(seed: int, steps: int, num: int = 6000, batch_size: int = 256, **settings) -> SepCLR:
    """SepCLR on `num` examples; settings are those of its config. Without independence_weight the term is left out."""
    torch.manual_seed(seed)
    spec, data = ImageSpec(2, 1, SIZE, num), draw(num, seed + 1)
    encoder = CommonSalientEncoder(spec, MLP(), MLP(), common_dim=8, salient_dim=4)
    term = KernelJointEntropy() if settings.get("independence_weight", 10.0) > 0 else None
    model = SepCLR(spec, encoder, NoiseViews(), term, **settings)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    number, epoch = 0, 0
    while number < steps:
        for rows in model.epoch_batches(data, batch_size, seed, epoch)[: steps - number]:
            optimizer.zero_grad()
            model(data.__getitems__(rows), Step(seed, epoch, number))["loss"].backward()
            optimizer.step()
            number += 1
        epoch += 1
    return model.eval()


@torch.no_grad()
def scores(model: SepCLR, num: int = 3000) -> dict[str, float]:
    """Mean R squared of each kind of factor on targets, and AUC of the group, from each code's features, linearly."""
    datasets = [draw(num, seed) for seed in (1001, 1002)]  # to fit on, and kept aside
    parts = [model.encoder.parts(data.__getitems__(range(num)).images)._asdict() for data in datasets]
    on_target, everyone = datasets[0].is_target.numpy(), np.ones(num, bool)  # alike in both
    found = {}
    for space in parts[0]:

        def probed(values, rows, space=space):
            (fit, kept), (fit_values, kept_values) = [part[space].numpy()[rows] for part in parts], values
            return ProbeData(fit, fit_values[rows], kept, kept_values[rows], np.arange(int(rows.sum())))

        groups = [data.is_target.numpy().astype(int) for data in datasets]
        found[f"group from {space}"] = probe_group(probed(groups, everyone), "linear").score
        for kind, columns in (("common", range(COMMON)), ("salient", range(COMMON, COMMON + SALIENT))):
            factors = [[data.attributes[:, column].numpy() for data in datasets] for column in columns]
            each = [probe_number(probed(values, on_target), "linear").score for values in factors]
            found[f"{kind} from {space}"] = float(np.mean(each))
    return found
