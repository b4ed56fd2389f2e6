"""Slow, obvious forms of deformable attention along slices."""

import torch
from torch.nn import functional as F


def hat_matrix(places, num_slices):
    """(q, n) of  max(0, 1 - |place - j|)."""
    return (1 - (places[:, None] - torch.arange(num_slices).to(places)).abs()).clamp_min(0)


def grid_sample_1d(values, places):
    """Values (n, c) at fractional slice numbers (q,), by image sampling on height n and width 1."""
    n = len(values)
    image = values.T[None, :, :, None]  # (1, c, n, 1)
    y = 2 * (places + 0.5) / n - 1
    grid = torch.stack([torch.zeros_like(y), y], dim=-1)[None, :, None]  # (1, q, 1, 2)
    return F.grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=False)[0, :, :, 0].T


def multi_scale(module, queries, tokens, sample):
    """The attention of one volume (n, d), one slice, head, level and point at a time; `sample(values, places)`."""
    n, d = tokens.shape
    heads, levels, points = module.num_heads, module.num_levels, module.num_points
    width = d // heads
    pooled = []
    for level in range(levels):
        size = 2**level
        pooled.append(torch.stack([tokens[j : j + size].mean(dim=0) for j in range(0, n, size)]))
    rows = []
    for i in range(n):
        offsets = (module.offsets.weight @ queries[i] + module.offsets.bias).reshape(heads, levels, points)
        weights = (module.weights.weight @ queries[i] + module.weights.bias).reshape(heads, -1).softmax(dim=1)
        weights = weights.reshape(heads, levels, points)
        parts = []
        for head in range(heads):
            total = torch.zeros(width).to(tokens)
            for level in range(levels):
                projected = pooled[level] @ module.values.weight.T[:, head * width : (head + 1) * width]
                n_l = len(projected)
                places = ((i + 0.5) / n + offsets[head, level] / n_l) * n_l - 0.5
                total = total + weights[head, level] @ sample(projected, places)
            parts.append(total)
        rows.append(module.output.weight @ torch.cat(parts) + module.output.bias)
    return torch.stack(rows)
