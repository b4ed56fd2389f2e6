"""Slow, obvious forms of the losses and assignments around prototypes: loops over numbers, in float64."""

import math

import torch
from torch import Tensor


def matrix_sinkhorn(scores: Tensor, epsilon: float, iterations: int) -> Tensor:
    """Codes (n, k) by scaling the exponentiated matrix itself, prototypes first, examples last."""
    n, k = scores.shape
    q = torch.exp((scores.double() - scores.double().max()) / epsilon).T
    q /= q.sum()
    for _ in range(iterations):
        for row in range(k):
            q[row] /= q[row].sum() * k
        for column in range(n):
            q[:, column] /= q[:, column].sum() * n
    return (n * q).T


def loop_cross_entropy(scores: Tensor, codes: Tensor, temperature: float) -> float:
    """Mean over rows of -sum_k code_k log softmax_k, one number at a time."""
    rows = []
    for row, code in zip(scores.tolist(), codes.tolist(), strict=True):
        total = math.fsum(math.exp(s / temperature) for s in row)
        rows.append(-math.fsum(c * math.log(math.exp(s / temperature) / total) for s, c in zip(row, code, strict=True)))
    return math.fsum(rows) / len(rows)


def loop_dice(probabilities: Tensor, labels: Tensor, classes: list[int]) -> float:
    """Mean of 1 - Dice over the given classes, voxel by voxel; probabilities (n, c, *), labels (n, *), -100 skipped."""
    terms = []
    for c in classes:
        overlap = predicted = size = 0.0
        for p, y in zip(probabilities[:, c].flatten().tolist(), labels.flatten().tolist(), strict=True):
            if y != -100:
                overlap, predicted, size = overlap + p * (y == c), predicted + p, size + (y == c)
        terms.append(1 - 2 * overlap / (predicted + size))
    return math.fsum(terms) / len(terms)


def loop_kmeans(x: Tensor, centroids: Tensor, iterations: int) -> tuple[list[int], list[list[float]]]:
    """Spherical k-means from given unit centroids, a row at a time; an empty cluster keeps its centroid."""
    rows = [[v / math.sqrt(math.fsum(u * u for u in row)) for v in row] for row in x.tolist()]
    places = centroids.tolist()
    for step in range(iterations + 1):
        scores = [[math.fsum(a * b for a, b in zip(row, c, strict=True)) for c in places] for row in rows]
        labels = [row.index(max(row)) for row in scores]
        if step == iterations:
            break
        for k in set(labels):
            total = [math.fsum(v) for v in zip(*(r for r, y in zip(rows, labels, strict=True) if y == k), strict=True)]
            length = math.sqrt(math.fsum(v * v for v in total))
            places[k] = [v / length for v in total]
    return labels, places


def kernel_matrix(x: Tensor, y: Tensor, bandwidth: float) -> Tensor:
    """exp(-|x_i - y_j|^2 / (2 bandwidth)) from the explicit differences."""
    return torch.exp(-((x[:, None] - y[None]) ** 2).sum(dim=2) / (2 * bandwidth))


def loop_uniformity(x: Tensor, bandwidth: float, form: str, include_self: bool, fixed: Tensor | None) -> Tensor:
    """Uniformity, a pair at a time."""
    rows = []
    for i in range(len(x)):
        near = [x[j] for j in range(len(x)) if include_self or j != i] + ([] if fixed is None else list(fixed))
        rows.append(torch.stack([torch.exp(-((x[i] - y) ** 2).sum() / (2 * bandwidth)) for y in near]).mean())
    means = torch.stack(rows)
    return means.mean().log() if form == "pair" else means.log().mean()


def loop_concentration(
    rows: Tensor, centroids: Tensor, labels: list[int], temperature: float, smoothing: float, measure: str
) -> list[float]:
    """Temperature per centroid, one cluster at a time; clusters of two or more must have some spread."""
    raw: list[float | None] = []
    for k, center in enumerate(centroids.tolist()):
        spread = []
        for row, label in zip(rows.tolist(), labels, strict=True):
            if label == k:
                length = math.sqrt(math.fsum(v * v for v in row))
                dot = math.fsum(a * b for a, b in zip(row, center, strict=True)) / length
                spread.append(math.sqrt(max(0.0, 2 - 2 * dot if measure == "distance" else dot)))
        size = len(spread)
        raw.append(math.fsum(spread) / size / math.log(size + smoothing) if size > 1 else None)
    largest = max(value for value in raw if value is not None)
    values = [largest if value is None else value for value in raw]
    ordered = sorted(values)

    def percentile(share: float) -> float:
        place = share * (len(ordered) - 1)
        low = min(int(place), len(ordered) - 2)
        return ordered[low] + (place - low) * (ordered[low + 1] - ordered[low])

    clipped = [min(max(value, percentile(0.1)), percentile(0.9)) for value in values]
    return [temperature * value * len(clipped) / math.fsum(clipped) for value in clipped]


def loop_masked_info_nce(
    predictions: Tensor, targets: Tensor, mask: Tensor, valid: Tensor, temperature: float, min_gap: int
) -> float:
    """InfoNCE of masked slots, a pair at a time."""
    num_sequences, num_slots = mask.shape

    def cosine(x: Tensor, y: Tensor) -> float:
        return float(x @ y / x.norm() / y.norm())

    slots = [(b, s) for b in range(num_sequences) for s in range(num_slots) if valid[b, s]]
    losses = []
    for b, s in slots:
        if mask[b, s]:
            kept = [(c, r) for c, r in slots if c != b or r == s or abs(r - s) >= min_gap]
            total = math.fsum(math.exp(cosine(predictions[b, s], targets[c, r]) / temperature) for c, r in kept)
            losses.append(math.log(total) - cosine(predictions[b, s], targets[b, s]) / temperature)
    return math.fsum(losses) / len(losses)
