"""What each of several processes checks about `dist` of every loss: values and gradients of one process."""

import functools
import importlib
import warnings

import torch

from medgraph import catalogue, processes

SIZES = {2: (5, 3), 3: (4, 0, 6), 4: (3, 1, 2, 4)}  # uneven, one process without examples
EXTRA = {2: (2, 1), 3: (1, 2, 0), 4: (1, 0, 1, 2)}  # further keys


def _two(first, second, **_):
    return first, second


def _with(*names):
    return lambda first, second, **more: (first, second, *(more[name] for name in names))


def _more_keys(first, second, extra, **_):
    return first, torch.cat([second, extra])


def _views(first, second, third, **_):
    return (torch.stack([first, second, third]),)


def _targets(first, labels, codes, **_):
    return first, labels, codes[:, 0]


def _ages(first, labels, **_):
    return first, labels.double()


def _slots(first, second, third, codes, **_):
    """Sequences of two slots, of which some are hidden and some are padding."""
    mask, valid = codes[:, :2] == 0, codes[:, 2:] < 2
    return torch.stack([first, third], dim=1), torch.stack([second, first], dim=1), mask, valid


def _own_pairs(first, second, codes, **_):
    own = torch.arange(len(first))
    return first, second, own.expand(2, -1), codes


# name in the catalogue, settings, and what the loss takes
CASES = [
    ("info_nce", {"learnable_temperature": True}, _more_keys),
    ("info_nce", {"learnable_temperature": True, "symmetric": True, "label_smoothing": 0.2}, _more_keys),
    ("info_nce", {"reduction": "sum"}, _two),
    ("nt_xent", {}, _two),
    ("supcon", {}, lambda first, labels, **_: (first, labels)),
    ("supcon", {"mode": "in"}, lambda first, labels, **_: (first, labels)),
    ("supcon", {"mode": "per_positive", "reduction": "pair"}, lambda first, labels, **_: (first, labels)),
    ("dcl", {}, _two),
    ("dclw", {}, _two),
    ("debiased_nt_xent", {}, _two),
    ("debiased_nt_xent", {"beta": 1.0}, _two),
    ("mv_info_nce", {}, _views),
    ("mv_info_nce", {"same_view_negatives": False}, _views),
    ("mv_dhel", {}, _views),
    ("weighted_info_nce", {}, _with("codes")),
    ("weighted_info_nce", {"positive_in_denominator": "always"}, _with("codes")),
    ("given_weight_info_nce", {"self_normalize": True}, _with("log_weights")),
    ("given_weight_info_nce", {"positive_in_denominator": "always"}, _with("log_weights")),
    ("adaptive_info_nce", {"dim": 4, "hidden_dim": 3}, _two),
    ("adaptive_info_nce", {"dim": 4, "hidden_dim": 3, "weight_norm": "row_mean"}, _two),
    ("inverse_propensity", {}, _with("propensity")),
    ("inverse_propensity", {}, _with("table", "labels")),
    ("false_negative_removal", {}, _two),
    ("false_negative_removal", {"guide_threshold": 0.2}, _with("guide")),
    ("quantile_negatives", {"share": 0.3}, _two),
    ("mean_normalized_negatives", {}, _two),
    ("sigmoid_pair", {"bias": -1.0}, _more_keys),
    ("y_aware_info_nce", {}, lambda first, second, labels, **_: (first, second, labels.double())),
    ("y_aware_info_nce", {}, lambda first, second, labels, **_: (first, second, labels + 20240101)),
    ("momentum_contrast", {}, lambda first, second, **_: (first, second, torch.eye(4, dtype=torch.float64))),
    ("multi_positive_info_nce", {}, _own_pairs),
    ("multi_positive_info_nce", {"positive_in_denominator": "always", "reduction": "sum"}, _own_pairs),
    ("masked_prediction", {}, _slots),
    ("masked_prediction", {"measure": "cosine"}, _slots),
    ("masked_prediction", {"measure": "info_nce", "min_gap": 2}, _slots),
    ("rank_n_contrast", {}, _ages),
    ("rank_n_contrast", {}, lambda first, labels, **_: (first, labels + 20240101)),
    ("supremix", {"max_mixed_positives": 2}, _ages),
    ("supremix", {"normalize_mixtures": True, "detach_mixtures": True}, _ages),
    ("class_pair_gates", {"num_classes": 3, "dim": 4, "hidden_dim": 3}, _targets),
    ("replay", {}, lambda first, second, labels, **_: (first, second, labels)),
    ("replay", {}, lambda first, second, labels, extra, **_: (first, second, labels, extra)),
    ("relational_distillation", {}, lambda first, guide, **_: (first, guide)),
    ("relational_distillation", {"measure": "score"}, lambda first, guide, **_: (first, guide)),
    ("alignment", {}, _two),
    ("alignment", {"power": 1.0}, _two),
    ("alignment_uniformity", {}, _two),
    ("alignment_uniformity", {"form": "row"}, _two),
    ("uniformity", {}, lambda first, **_: (first,)),
    ("uniformity", {"form": "row", "include_self": True}, lambda first, **_: (first,)),
    ("uniformity", {}, lambda first, extra, **_: (first, extra)),
    ("joint_entropy", {}, _two),
    ("joint_entropy", {"include_self": False}, _two),
]  # fmt: skip
WITHOUT_RING = {
    "quantile_negatives",
    "multi_positive_info_nce",
    "rank_n_contrast",
    "supremix",
    "class_pair_gates",
    "relational_distillation",
}


def draw(world):
    """Inputs and other arguments of all processes; those with one row per example, and those per further key."""
    rng = torch.Generator().manual_seed(11)
    num, num_extra = sum(SIZES[world]), sum(EXTRA[world])

    def normal(*shape):
        return torch.randn(*shape, generator=rng, dtype=torch.float64)

    rows = {"x": normal(num, 5), "y": normal(num, 5), "w": normal(num, 5), "guide": normal(num, 3)}
    rows |= {"labels": torch.randint(3, (num,), generator=rng), "codes": torch.randint(3, (num, 4), generator=rng)}
    rows |= {"log_weights": normal(num), "propensity": torch.rand(num, generator=rng, dtype=torch.float64)}
    return rows, normal(num_extra, 5)


def prepared(name, settings, take, rows, extra, dist):
    """The loss, a function that gives what it takes, and all parameters with a gradient: two encoders' and its own."""
    module, _, attribute = catalogue.path("losses", name).partition(":")
    torch.manual_seed(3)
    loss = getattr(importlib.import_module(module), attribute)(**settings, dist=dist).double()
    encoders = [torch.randn(5, 4, dtype=torch.float64).requires_grad_() for _ in range(2)]
    table = torch.tensor([[0.2, 0.5, 0.3], [0.5, 0.1, 0.9], [0.6, 0.4, 0.8]], dtype=torch.float64)
    parts = {k: rows[k] for k in ("labels", "codes", "log_weights", "propensity", "guide")}

    def inputs():
        views = (("first", "x", 0), ("second", "y", 1), ("third", "w", 0))
        embedded = {view: rows[of] @ encoders[number] for view, of, number in views}
        return take(**parts, **embedded, extra=extra @ encoders[1], table=table)

    return loss, inputs, [*encoders, *loss.parameters()]


def values(name, settings, take, rows, extra, dist):
    """The value of the loss and all gradients."""
    loss, inputs, parameters = prepared(name, settings, take, rows, extra, dist)
    value = loss(*inputs())
    value.backward()
    return value.detach(), [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]


def check_every_loss():
    """Averaged over processes, value and gradients equal those of one process that holds all examples."""
    warnings.simplefilter("ignore")
    world, rank = processes.world_size(), processes.rank()
    rows, extra = draw(world)
    own = {name: x.split(SIZES[world])[rank] for name, x in rows.items()}
    own_extra = extra.split(EXTRA[world])[rank]
    close = functools.partial(torch.testing.assert_close, rtol=0, atol=1e-10)
    for name, settings, take in CASES:
        value, gradients = values(name, settings, take, rows, extra, None)
        assert any(g.abs().max() > 1e-6 for g in gradients), name
        for dist in ("gather",) if name in WITHOUT_RING else ("gather", "ring"):
            found, found_gradients = values(name, settings, take, own, own_extra, dist)
            averaged = [processes.all_reduce_sum(x) / world for x in (found, *found_gradients)]
            for x, expected in zip(averaged, (value, *gradients), strict=True):
                close(x, expected, msg=lambda text, case=(name, settings, dist): f"{case}: {text}")
