"""Slow forms of losses over classes, teachers and all pairs: one pair at a time, in float64."""

import torch
from reference.losses_pairwise import cosines, log_sum, mean, unit


def loop_class_pair_gates(embeddings, labels, targets, gates, temperature, reduction):
    """Class-pair gates with every gated vector built."""
    pair_losses, anchor_losses = [], []
    for i, x in enumerate(embeddings):

        def logit(j, i=i, x=x):
            a, b = unit((gates[i] * x)[None])[0], unit((gates[i] * embeddings[j])[None])[0]
            return (a * b).sum() / temperature

        others = range(len(embeddings))
        positives = [logit(j) for j in others if j != i and labels[j] == targets[i]]
        negatives = [logit(j) for j in others if labels[j] not in (labels[i], targets[i])]
        if positives and negatives:
            found = [log_sum([p, *negatives]) - p for p in positives]
            pair_losses += found
            anchor_losses.append(mean(found))
    return {"pair": mean(pair_losses), "mean": mean(anchor_losses), "sum": sum(anchor_losses)}[reduction]


def loop_sigmoid_pair(queries, keys, temperature, bias):
    """Sigmoid pair loss."""
    x, losses = cosines(queries, keys, temperature), []
    for i in range(len(queries)):
        signs = [1 if j == i else -1 for j in range(len(keys))]
        losses.append(sum(-torch.sigmoid(s * (x[i][j] + bias)).log() for j, s in enumerate(signs)))
    return mean(losses)


def loop_replay(rehearsed, previous, labels, others, temperature):
    """Teacher positives, student negatives."""
    now = torch.cat([rehearsed, others])
    x, before, losses = cosines(rehearsed, now, temperature), cosines(rehearsed, previous, temperature), []
    for i in range(len(rehearsed)):
        positive = mean([before[i][p] for p in range(len(previous)) if labels[p] == labels[i]])
        losses.append(log_sum([x[i][j] for j in range(len(now)) if j != i]) - positive)
    return mean(losses)


def loop_distillation(student, teacher, temperature, teacher_temperature, measure):
    """Relational distillation."""
    n, losses = len(student), []
    scale = (1.0, 1.0) if measure == "score" else (temperature, teacher_temperature)
    x, y = cosines(student, student, scale[0]), cosines(teacher, teacher, scale[1])
    for i in range(n):
        others = [j for j in range(n) if j != i]
        if measure == "score":
            losses.append(mean([(x[i][j] - y[i][j]) ** 2 for j in others]))
        else:
            shares = [(y[i][j] - log_sum([y[i][k] for k in others])).exp() for j in others]
            denominator = log_sum([x[i][k] for k in others])
            losses.append(sum(s * (denominator - x[i][j]) for s, j in zip(shares, others, strict=True)))
    return mean(losses)
