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


def loop_dcl(first, second, temperature, spread=None):
    """DCL, with a spread DCLW."""
    n = len(first)
    weights = [1.0] * n
    if spread is not None:
        agreement = [((a * b).sum() / spread).exp().item() for a, b in zip(unit(first), unit(second), strict=True)]
        weights = [2 - n * a / sum(agreement) for a in agreement]
    rows = two_views(first, second, temperature)
    return mean([log_sum([x[j] for j in negatives]) - weights[i % n] * p for i, x, p, negatives in rows])


def loop_debiased(first, second, temperature, prior, beta):
    """Debiased and hard-negative NT-Xent in exponential form."""
    losses = []
    for _, x, p, negatives in two_views(first, second, temperature):
        m = len(negatives)
        tilt = sum((beta * x[j]).exp() for j in negatives)
        total = sum(m * (beta * x[j]).exp() / tilt * x[j].exp() for j in negatives)
        estimate = (total - prior * m * p.exp()) / (1 - prior)
        floor = m * torch.tensor(-1 / temperature, dtype=p.dtype).exp()
        losses.append((1 + torch.maximum(estimate, floor) / p.exp()).log())
    return mean(losses)


def loop_mv_info_nce(views, temperature, same_view):
    """MV-InfoNCE."""
    v, n, _ = views.shape
    x = cosines(views.flatten(0, 1), views.flatten(0, 1), temperature)
    losses = []
    for i in range(n):
        everything, own = [], []
        for a in range(v):
            for b in range(v):
                for j in range(n):
                    if (a, i) != (b, j) and (same_view or a != b):
                        everything.append(x[a * n + i][b * n + j])
                if a != b:
                    own.append(x[a * n + i][b * n + i])
        losses.append(log_sum(everything) - log_sum(own))
    return mean(losses)


def loop_mv_dhel(views, temperature):
    """MV-DHEL."""
    v, n, _ = views.shape
    x = cosines(views.flatten(0, 1), views.flatten(0, 1), temperature)
    losses = []
    for i in range(n):
        energy = sum(log_sum([x[a * n + i][a * n + j] for j in range(n) if j != i]) for a in range(v))
        losses.append(energy - log_sum([x[a * n + i][b * n + i] for a in range(v) for b in range(a + 1, v)]))
    return mean(losses)


def loop_weighted(queries, keys, codes, temperature, always):
    """InfoNCE weighted by the number of clusterings that disagree."""
    x, codes, losses = cosines(queries, keys, temperature), codes.tolist(), []
    for i, own in enumerate(codes):
        weights = [sum(a != b for a, b in zip(own, other, strict=True)) for other in codes]
        weights[i] = int(always)
        if any(weights):
            losses.append(sum(w * s.exp() for w, s in zip(weights, x[i], strict=True)).log() - x[i][i])
    return mean(losses)


def loop_adaptive(queries, keys, first, second, row_mean, temperature):
    """InfoNCE with a perceptron's weight for every pair; `first` and `second` are (weight, bias) of its layers."""
    x, q, k, losses = cosines(queries, keys, temperature), unit(queries), unit(keys), []
    for i in range(len(q)):
        hidden = [torch.tanh(first[0] @ torch.cat([q[i], other]) + first[1]) for other in k]
        weights = [torch.sigmoid((second[0] * h).sum() + second[1]) for h in hidden]
        norm = mean([w for j, w in enumerate(weights) if j != i]) if row_mean else 1
        losses.append(sum(w / norm * s.exp() for w, s in zip(weights, x[i], strict=True)).log() - x[i][i])
    return mean(losses)


def loop_inverse_propensity(queries, keys, propensity, temperature, smallest):
    """InfoNCE with weights one over propensity, rescaled to mean 1."""
    x = cosines(queries, keys, temperature)
    weights = [1 / min(max(p, smallest), 1) for p in propensity.tolist()]
    average = mean(weights)
    rows = [sum(w / average * s.exp() for w, s in zip(weights, row, strict=True)).log() for row in x]
    return mean([row - x[i][i] for i, row in enumerate(rows)])


def loop_false_negative_removal(first, second, temperature, margin):
    """NT-Xent without the negatives above the positive by a margin."""
    losses = []
    for _, x, p, negatives in two_views(first, second, temperature):
        kept = [x[j] for j in negatives if x[j] <= p + margin / temperature]
        if kept:
            losses.append(log_sum([p, *kept]) - p)
    return mean(losses)


def loop_quantile(first, second, temperature, num_kept):
    """NT-Xent against the `num_kept` negatives of highest score."""
    losses = []
    for _, x, p, negatives in two_views(first, second, temperature):
        kept = sorted((x[j] for j in negatives), key=lambda s: -s.item())[:num_kept]
        losses.append(log_sum([p, *kept]) - p)
    return mean(losses)


def loop_given_weights(queries, keys, weights, temperature, always, self_normalize):
    """InfoNCE with a matrix of weights."""
    x, losses = cosines(queries, keys, temperature), []
    for i in range(len(queries)):
        used = [j for j in range(len(keys)) if not (always and j == i)]
        norm = mean([weights[i][j] for j in used]) if self_normalize else 1
        total = sum(weights[i][j] / norm * x[i][j].exp() for j in used) + (x[i][i].exp() if always else 0)
        losses.append(total.log() - x[i][i])
    return mean(losses)


def loop_guided_removal(first, second, guide, temperature, margin, threshold):
    """NT-Xent without negatives that a guide finds similar, or above the positive by a margin."""
    losses, guide = [], unit(torch.cat([guide, guide]))
    for i, x, p, negatives in two_views(first, second, temperature):
        kept = [
            x[j] for j in negatives if x[j] <= p + margin / temperature and (guide[i] * guide[j]).sum() <= threshold
        ]
        if kept:
            losses.append(log_sum([p, *kept]) - p)
    return mean(losses)
