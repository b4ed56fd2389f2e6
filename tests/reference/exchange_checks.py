"""What each of several processes checks about `dist`: gradients equal those of one process; run by test_exchange.py."""

import math

import torch

from medgraph import processes
from medgraph.losses.pairs import exchange, pair_lse, pair_sum, terms

WEIGHT = torch.linspace(-1, 1, 20, dtype=torch.float64).reshape(5, 4)


def _everyone(sizes):
    rng = torch.Generator().manual_seed(5)
    total = sum(sizes)
    x, y = torch.randn(2, total, 5, generator=rng, dtype=torch.float64)
    codes = torch.randint(2, (total, 3), generator=rng)
    ids = torch.arange(total)
    log_weight = torch.randn(total, generator=rng, dtype=torch.float64)
    return x, y, codes, ids, log_weight


def _parameters():
    return WEIGHT.clone().requires_grad_(), torch.tensor(0.7, dtype=torch.float64, requires_grad=True)


def _both_directions(data, parameters, dist, tile):
    x, y, codes, ids, log_weight = data
    weight, scale = parameters
    q, k = x @ weight, y @ weight
    learned = terms.AdditiveScorer(q, k, weight[1], scale), terms.ColumnLogWeight(log_weight * weight[0, 0])
    given = terms.CodeDisagreement(codes), *learned
    heads = ((1.0, ()), (2.0, (terms.ExcludeSameId(ids),)))
    rows, columns = pair_lse(
        q, k, scale=scale, col_bias=k[:, 0], terms=given, heads=heads, columns=True, dist=dist, tile=tile,
        backend="auto" if tile is None else "tiled",
    )  # fmt: skip
    return rows.sum(0) + columns.mul(0.3).sum(0) - scale * (q * k).sum(1)  # one value per row


def _self_contrast(data, parameters, dist, tile):
    x, _, _, ids, _ = data
    weight, scale = parameters
    z = x @ weight
    return pair_lse(z, scale=scale, row_bias=z[:, 1], terms=(terms.ExcludeSameId(ids),), dist=dist, tile=tile)[0]


def _softplus_sum(data, parameters, dist, tile):
    x, y, codes, ids, log_weight = data
    weight, scale = parameters
    q, k = x @ weight, y @ weight
    given = (terms.ExcludeSameId(ids), terms.CodeDisagreement(codes), terms.ColumnLogWeight(log_weight * weight[0, 0]))
    options = {"scale": scale, "row_bias": q[:, 0], "offset": q[:, 1], "dist": dist, "tile": tile}
    if tile is not None:
        options["backend"] = "tiled"
    return pair_sum(q, k, phi="softplus", col_bias=k[:, 1], terms=given, **options)


def _plain_sum(data, parameters, dist, tile):
    x, _, codes, _, _ = data
    weight, scale = parameters
    return pair_sum(x @ weight, phi="identity", scale=scale, terms=(terms.OnlyPositives(codes[:, 0]),), dist=dist)


def _sum_beside_an_empty_slot(data, parameters, dist, tile):
    x, _, _, ids, _ = data
    weight, scale = parameters
    filled = terms.ExcludeSameId(ids, ids.where(ids != 2, -1))  # the first process has the slot
    return pair_sum(x @ weight, phi="identity", scale=scale, terms=(filled,), dist=dist)


def _averaged(parameters):
    world = processes.world_size()
    return [processes.all_reduce_sum(p.grad) / world for p in parameters]


def _expected(values_of, data):
    parameters = _parameters()
    values = values_of(data, parameters, None, None)
    values.mean().backward()
    return values.detach(), [p.grad for p in parameters]


def check_equals_one_process():
    """Gather and ring, uneven and empty batches, tiles or not: values and parameter gradients of one process."""
    world, rank = processes.world_size(), processes.rank()
    for sizes in ([3 + 2 * r for r in range(world)], [6, *([0, 5, 2][: world - 1])]):  # one is empty
        data = _everyone(sizes)
        local = [x.split(sizes)[rank] for x in data]
        for values_of in (_both_directions, _self_contrast, _softplus_sum, _plain_sum, _sum_beside_an_empty_slot):
            values, gradients = _expected(values_of, data)
            for dist in ("gather", "ring"):
                for tile in (None, 3):
                    parameters = _parameters()
                    own = values_of(local, parameters, dist, tile)
                    torch.testing.assert_close(own.detach(), values.split(sizes)[rank], rtol=0, atol=1e-10)
                    exchange.local_mean(own, torch.ones(len(own), dtype=torch.bool)).backward()
                    torch.testing.assert_close(_averaged(parameters), gradients, rtol=0, atol=1e-10)
    _check_wrong_variants()


def _info_nce(q, keys, all_positives, scale):
    logits = scale * q @ keys.T
    return (logits.logsumexp(1) - scale * (q * all_positives).sum(1)).mean()


def _check_wrong_variants():
    """The table of what goes wrong: each naive variant is wrong in the stated way."""
    world, rank = processes.world_size(), processes.rank()
    x, y = _everyone([4] * world)[:2]
    weight, scale = _parameters()
    _info_nce(x @ weight, y @ weight, y @ weight, scale).backward()
    right = [weight.grad, scale.grad]
    own_x, own_y = (t.split(4)[rank] for t in (x, y))

    def own_slot(k):
        return torch.cat([k if r == rank else part.detach() for r, part in enumerate(processes.gather(k).split(4))])

    def local_with_gradient(q, k, s):
        return _info_nce(q, processes.gather(k), k, s)

    def local_without_gradient(q, k, s):
        return _info_nce(q, processes.gather(k).detach(), k, s)

    def global_with_gradient(q, k, s):
        keys = processes.gather(k)
        return _info_nce(processes.gather(q), keys, keys, s)

    def global_own_slot(q, k, s):
        keys = own_slot(k)
        return _info_nce(own_slot(q), keys, keys, s)

    def gradients(loss):
        weight, scale = parameters = _parameters()
        loss(own_x @ weight, own_y @ weight, scale).backward()
        return _averaged(parameters)

    def close(a, b):
        return torch.allclose(a, b, rtol=1e-10, atol=1e-12)

    for loss in (local_with_gradient, global_with_gradient):
        assert all(map(close, gradients(loss), right)), loss.__name__
    encoder, temperature = gradients(global_own_slot)
    assert close(encoder * world, right[0])
    assert close(temperature, right[1])
    encoder, temperature = gradients(local_without_gradient)
    assert close(temperature, right[1])
    cosine = (encoder * right[0]).sum() / (encoder.norm() * right[0].norm())
    assert not math.isclose(cosine.item(), 1, abs_tol=1e-6), "not a multiple of the right gradient"
    # the temperature gradient summed over processes first, then averaged
    assert close(processes.all_reduce_sum(gradients(local_with_gradient)[1]), world * right[1])
