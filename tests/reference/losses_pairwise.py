"""Slow forms of the pairwise losses: one pair at a time, in float64, differentiable by autograd."""

import torch


def unit(x):
    """Rows at length 1."""
    return x / x.pow(2).sum(-1, keepdim=True).sqrt()


def log_sum(logits):
    """log of the sum of exponentials of a list of scalars."""
    return torch.stack(logits).exp().sum().log()


def mean(values):
    """Mean of a list of scalars."""
    return sum(values) / len(values)


def cosines(queries, keys, temperature):
    """All logits as a nested list of scalars."""
    return [[(q * k).sum() / temperature for k in unit(keys)] for q in unit(queries)]


def loop_info_nce(queries, keys, temperature, symmetric=False, smoothing=0.0):
    """InfoNCE with more keys than queries, both directions and label smoothing."""
    x, n = cosines(queries, keys, temperature), len(queries)
    rows, columns = [], []
    for i in range(n):
        column = [x[j][i] for j in range(n)]
        rows.append(log_sum(x[i]) - (1 - smoothing) * x[i][i] - smoothing * mean(x[i]))
        columns.append(log_sum(column) - (1 - smoothing) * x[i][i] - smoothing * mean(column))
    return (mean(rows) + mean(columns)) / 2 if symmetric else mean(rows)


def two_views(first, second, temperature):
    """Logits of 2n stacked views; for each anchor its positive logit and the list of its negatives' columns."""
    n = len(first)
    x = cosines(torch.cat([first, second]), torch.cat([first, second]), temperature)
    for i in range(2 * n):
        other = (i + n) % (2 * n)
        yield i, x[i], x[i][other], [j for j in range(2 * n) if j not in (i, other)]


def loop_nt_xent(first, second, temperature):
    """NT-Xent."""
    rows = two_views(first, second, temperature)
    return mean([log_sum([p, *(x[j] for j in negatives)]) - p for _, x, p, negatives in rows])


def loop_supcon(embeddings, labels, temperature, mode):
    """SupCon in three modes; anchors without positive (or negative) are skipped."""
    x, y, losses = cosines(embeddings, embeddings, temperature), labels.tolist(), []
    for i in range(len(y)):
        positives = [x[i][j] for j in range(len(y)) if j != i and y[j] == y[i]]
        negatives = [x[i][j] for j in range(len(y)) if y[j] != y[i]]
        if not positives or (mode == "per_positive" and not negatives):
            continue
        if mode == "out":
            losses.append(log_sum(positives + negatives) - mean(positives))
        elif mode == "in":
            losses.append(-(mean([p.exp() for p in positives]) / log_sum(positives + negatives).exp()).log())
        else:
            losses.append(mean([log_sum([p, *negatives]) - p for p in positives]))
    return mean(losses)


def assert_equal_with_gradients(fast, slow, *inputs):
    """Values within 1e-12 and gradients within 1e-10 of one another."""
    results = []
    for function in (fast, slow):
        leaves = [x.detach().clone().requires_grad_() for x in inputs]
        value = function(*leaves)
        results.append((value, torch.autograd.grad(value, leaves)))
    (value, gradients), (expected, expected_gradients) = results
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)
    for gradient, expected_gradient in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(gradient, expected_gradient, rtol=1e-10, atol=1e-10)
