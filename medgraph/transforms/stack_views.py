"""StackViews: two views of each volume whose slices stay in correspondence."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from medgraph import checks
from medgraph.transforms import intensity, spatial
from medgraph.transforms.draws import between, uniforms

KINDS = ("noise", "blur", "bias_field", "gamma", "anisotropy", "flip", "affine", "none")


class StackViews:
    """An in-plane affine map and one further change for each view, the same for all slices of the view.

    With `affine` among the kinds the map is one of the changes to draw, no longer part of every view: all seven of
    `noise` to `affine` are what the authors' release draws one of, another one for each of the two views.

    Both views show the same slices in the same order: nothing moves along the slice axis. Of a long volume both show
    the same window. Values are expected in [0, 1]. Each volume's draws depend on seed, step and id alone.

    Args:
        num_slices: Slices of a window, at a place drawn for each step; None takes the whole volume.
        stride: Step between the slices of a view; 2 takes every second one, since neighbours look almost the same.
        allow_short: Take volumes with fewer slices than the window as they are; otherwise they are an error.
        rotation: Largest rotation in degrees; corners that leave the slice repeat its border.
        scale: Zoom, from and to; above 1 shows more than the slice.
        shift: Largest shift, as a share of the slice.
        flip_probability: Chance of a mirror along the columns: left-right but in sagittal slices.
        kinds: Changes to draw from: "noise", "blur", "bias_field", "gamma", "anisotropy", "flip" (left and right),
            "affine", "none".
        different: The two views never get the same kind of change.
        gamma: Exponent, from and to.
        blur: Standard deviation of the blur in voxels, from and to.
        noise: Standard deviation of the noise, from and to.
        bias: Largest coefficient of the bias field's logarithm, a polynomial of degree 3.
        anisotropy: Factor by which one in-plane axis loses resolution, from and to.

    Attributes:
        takes_stacks: It changes all slices of a volume alike.
    """

    takes_stacks = True

    def __init__(
        self,
        num_slices: int | None = None,
        stride: int = 1,
        allow_short: bool = False,
        rotation: float = 10.0,
        scale: tuple[float, float] = (0.9, 1.1),
        shift: float = 0.05,
        flip_probability: float = 0.0,
        kinds: tuple[str, ...] = ("noise", "blur", "bias_field", "gamma", "anisotropy"),
        different: bool = True,
        gamma: tuple[float, float] = (0.7, 1.5),
        blur: tuple[float, float] = (0.3, 1.0),
        noise: tuple[float, float] = (0.02, 0.1),
        bias: float = 0.3,
        anisotropy: tuple[float, float] = (1.5, 3.0),
    ):
        self.num_slices = None if num_slices is None else checks.at_least("num_slices", num_slices, 1)
        self.stride = checks.at_least("stride", stride, 1)
        self.allow_short = allow_short
        self.rotation = checks.not_negative("rotation", rotation)
        self.scale = checks.interval("scale", scale, 0.1, 10.0)
        self.shift = checks.fraction("shift", shift)
        self.flip_probability = checks.fraction("flip_probability", flip_probability)
        self.kinds = tuple(checks.one_of("kinds", kind, KINDS) for kind in kinds)
        self.different = different
        if len(self.kinds) < (2 if different else 1):
            raise ValueError(f"kinds: expected {2 if different else 1} or more of {KINDS}, got {self.kinds}")
        twice = [kind for kind in self.kinds if self.kinds.count(kind) > 1]
        if different and twice:
            raise ValueError(
                f"kinds: {twice[0]!r} is listed twice, so both views may get it; list it once, or set different to "
                "false"
            )
        self.gamma = checks.interval("gamma", gamma, 0.01, 100.0)
        self.blur = checks.interval("blur", blur, 0.01, 3.0)
        self.noise = checks.interval("noise", noise, 0.0, 1.0)
        self.bias = checks.not_negative("bias", bias)
        self.anisotropy = checks.interval("anisotropy", anisotropy, 1.0, 8.0)

    @property
    def shows_windows(self) -> bool:
        """Whether a view leaves slices out."""
        return self.num_slices is not None or self.stride > 1

    @property
    def span(self) -> int:
        """Slices that a volume must have for a whole window; 1 without one."""
        return 1 if self.num_slices is None else (self.num_slices - 1) * self.stride + 1

    def draw(self, seed: int, number: int, ids: Tensor, lengths: Tensor) -> dict[str, Any]:
        """First slice and number of slices of each window (n,), and under "views" a dictionary for each view.

        Args:
            seed: Seed of the run.
            number: Draws before this one, as steps taken.
            ids: Global ids of the volumes (n,).
            lengths: Their numbers of slices (n,).
        """
        u = uniforms(seed, number, ids, 3, stream=501)
        count = len(self.kinds)
        first = (u[:, 1] * count).long()
        step = 1 + (u[:, 2] * (count - 1)).long() if self.different else (u[:, 2] * count).long()
        kinds = (first, (first + step) % count)
        return {
            "start": self.draw_start(seed, number, ids, lengths),
            "views": [self._draw_view(uniforms(seed, number, ids, 22, stream=502 + v), k) for v, k in enumerate(kinds)],
        }

    def draw_start(self, seed: int, number: int, ids: Tensor, lengths: Tensor) -> Tensor:
        """First slice of each window (n,), the one that `draw` gives."""
        room = (lengths - self.span).clamp_min(0) + 1 if self.num_slices else lengths.clamp_max(self.stride)
        return (uniforms(seed, number, ids, 1, stream=501)[:, 0] * room).long()

    def window(self, lengths: Tensor, record: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Numbers of the slices shown of each volume (n, m), and where they exist (n, m)."""
        most = self.num_slices or math.ceil(int(lengths.max()) / self.stride)
        index = record["start"][:, None] + self.stride * torch.arange(most, device=lengths.device)
        valid = index < lengths[:, None]
        keep = int(valid.sum(dim=1).max())
        return index[:, :keep], valid[:, :keep]

    def apply(self, slices: Tensor, valid: Tensor, record: dict[str, Any]) -> tuple[list[Tensor], Tensor, Tensor]:
        """Two views (b, m, c, h, w) of stacks (b, n, c, h, w), the validity (b, m) and numbers (b, m) of their slices.

        Padding is 0 in the views.
        """
        index, shown = self.window(valid.sum(dim=1), record)
        volume = torch.arange(len(slices), device=slices.device)[:, None].expand_as(index)[shown]
        chosen = slices[volume, index[shown]]  # (t, c, h, w)
        views = []
        for view in record["views"]:
            changed = self._apply_view(chosen, volume, view)
            views.append(changed.new_zeros(*shown.shape, *changed.shape[1:]).index_put((shown,), changed))
        return views, shown, index

    def _draw_view(self, u: Tensor, kind: Tensor) -> dict[str, Tensor]:
        scale = between(u[:, 1], *self.scale)
        names = {name: torch.tensor([k == name for k in self.kinds], device=u.device)[kind] for name in KINDS}
        moved = names["affine"] if "affine" in self.kinds else torch.ones_like(names["affine"])
        return {
            "angle": moved * between(u[:, 0], -self.rotation, self.rotation),
            "scale": scale.where(moved, 1.0),
            "shift": moved[:, None] * 2 * between(u[:, 2:4], -self.shift, self.shift),
            "flip": ((u[:, 4] < self.flip_probability) | names["flip"]).float(),
            "noise": names["noise"] * between(u[:, 5], *self.noise),
            "noise_seed": (u[:, 6] * 2**24).long() * 2**24 + (u[:, 7] * 2**24).long(),
            "blur": names["blur"] * between(u[:, 8], *self.blur),
            "gamma": 1 + names["gamma"] * (between(u[:, 9], *self.gamma) - 1),
            "bias": names["bias_field"][:, None] * between(u[:, 10:19], -self.bias, self.bias),
            "factor": 1 + names["anisotropy"] * (between(u[:, 19], *self.anisotropy) - 1),
            "along_width": u[:, 20] < 0.5,
        }

    def _apply_view(self, slices: Tensor, volume: Tensor, view: dict[str, Tensor]) -> Tensor:
        """One view of chosen slices (t, c, h, w), each of the volume with that row."""
        v = {name: value[volume] for name, value in view.items()}
        height, width = slices.shape[2:]
        shift = v["shift"]
        matrix = spatial.affine(height / width, v["angle"], v["scale"], v["scale"], shift[:, 0], shift[:, 1], v["flip"])
        slices = spatial.resample(slices, matrix, (height, width))
        slices = _coarsen(slices, volume, view["factor"], view["along_width"])
        slices = intensity.blur(slices, v["blur"], intensity.reach(self.blur[1]))
        slices = (slices * _bias_field(v["bias"], height, width)).clamp(0, 1) ** v["gamma"][:, None, None, None]
        return slices + _noise(slices, volume, view["noise"], view["noise_seed"])


def _coarsen(slices: Tensor, volume: Tensor, factors: Tensor, along_width: Tensor) -> Tensor:
    """Lose resolution along one axis: scaled down and up again, volume by volume."""
    out = slices
    for row in (factors > 1).nonzero().flatten().tolist():
        mine = volume == row
        height, width = slices.shape[2:]
        size = (height, max(1, round(width / float(factors[row])))) if along_width[row] else None
        size = size or (max(1, round(height / float(factors[row]))), width)
        small = F.interpolate(slices[mine], size=size, mode="bilinear", align_corners=False, antialias=True)
        wide = F.interpolate(small, size=(height, width), mode="bilinear", align_corners=False)
        out = out.index_put((mine,), wide)
    return out


def _bias_field(coefficients: Tensor, height: int, width: int) -> Tensor:
    """exp of a polynomial of degree 3 without constant, coefficients (t, 9): (t, 1, h, w)."""
    y = torch.linspace(-1, 1, height, device=coefficients.device)[:, None].expand(height, width)
    x = torch.linspace(-1, 1, width, device=coefficients.device).expand(height, width)
    powers = torch.stack([x, y, x * x, x * y, y * y, x**3, x * x * y, x * y * y, y**3])  # (9, h, w)
    return torch.einsum("tk,khw->thw", coefficients, powers).exp()[:, None]


def _noise(slices: Tensor, volume: Tensor, std: Tensor, seeds: Tensor) -> Tensor:
    """Gaussian noise of each volume's strength, from its seed."""
    noise = torch.zeros_like(slices)
    for row in (std > 0).nonzero().flatten().tolist():
        mine = volume == row
        generator = torch.Generator(slices.device).manual_seed(int(seeds[row]))
        shape = (int(mine.sum()), *slices.shape[1:])
        noise[mine] = std[row] * torch.randn(shape, generator=generator, device=slices.device)
    return noise
