"""Slow forms of the losses for continuous labels: one pair at a time, in float64, differentiable by autograd."""

import torch
from reference.losses_pairwise import cosines, log_sum, mean, unit


def loop_y_aware(queries, keys, labels, temperature, bandwidth):
    """y-aware InfoNCE."""
    x, losses = cosines(queries, keys, temperature), []
    for i in range(len(x)):
        gaps = [(labels[i] - other).square().sum() for other in labels]
        weights = [(-gap / (2 * bandwidth)).exp() for gap in gaps]
        positive = sum(w * s for w, s in zip(weights, x[i], strict=True)) / sum(weights)
        losses.append(log_sum(x[i]) - positive)
    return mean(losses)


def loop_rank_n_contrast(embeddings, labels, temperature):
    """Rank-N-Contrast."""
    n, losses = len(embeddings), []
    for i in range(n):
        x = [-(embeddings[i] - other).square().sum().sqrt() / temperature if j != i else None
             for j, other in enumerate(embeddings)]  # fmt: skip
        gap = [(labels[i] - other).abs() for other in labels]
        others = [j for j in range(n) if j != i]
        losses.append(mean([log_sum([x[k] for k in others if gap[k] >= gap[j]]) - x[j] for j in others]))
    return mean(losses)


def loop_supremix(embeddings, labels, temperature, window, shares=None, normalize=False, detach=False):
    """SupReMix with every mixed positive, and mixed negatives of the given shares; mixtures are built as vectors."""
    z, losses = unit(embeddings), []
    for i, y in enumerate(labels):
        entries, positives = [], []
        for j, other in enumerate(labels):
            if j != i:
                score = (z[i] * z[j]).sum() / temperature
                entries.append(score + ((y - other).abs() + 1).log())
                positives += [score] if other == y else []
        if shares is not None:
            for k, other in enumerate(labels):
                if other != y:
                    score = _mixed_score(z[i], shares[i][k], z[i], z[k], normalize, detach) / temperature
                    entries.append(score + ((1 - shares[i][k]) * (y - other).abs() + 1).log())
        for j, below in enumerate(labels):
            for k, above in enumerate(labels):
                if y - window <= below < y < above <= y + window:
                    a = (above - y) / (above - below)
                    score = _mixed_score(z[i], a, z[j], z[k], normalize, detach) / temperature
                    entries.append(score)
                    positives.append(score)
        if positives:
            losses.append(log_sum(entries) - mean(positives))
    return mean(losses)


def _mixed_score(anchor, share, first, second, normalize, detach):
    mixture = share * first + (1 - share) * second
    mixture = mixture.detach() if detach else mixture
    mixture = unit(mixture[None])[0] if normalize else mixture
    return (anchor * mixture).sum()


def draw_shares(n, seed):
    """Shares of the mixed negatives (n, n), as the loss draws them: each anchor from a generator of its own."""
    seed = int(torch.randint(2**31, (), generator=torch.Generator().manual_seed(seed)))
    own = [torch.Generator().manual_seed(seed + i) for i in range(n)]
    return torch.stack([torch.rand(9, n, generator=g, dtype=torch.float64).sort(dim=0).values[1] for g in own])


def loop_label_alignment(embeddings, labels, bandwidth, label_bandwidth):
    """Squared distances weighted by a kernel on labels."""
    losses = []
    for i, x in enumerate(embeddings):
        others = [j for j in range(len(embeddings)) if j != i]
        weights = [(-(labels[i] - labels[j]).square().sum() / (2 * label_bandwidth)).exp() for j in others]
        pulls = [(x - embeddings[j]).square().sum() / (2 * bandwidth) for j in others]
        losses.append(sum(w * p for w, p in zip(weights, pulls, strict=True)) / sum(weights))
    return mean(losses)
