import torch

from medgraph.transforms.draws import between, pair_uniforms, uniforms


def test_they_are_uniform_and_unrelated():
    u = uniforms(7, 3, torch.arange(20_000), 3)
    assert u.min() >= 0
    assert u.max() < 1
    counts = torch.histc(u, bins=10)
    assert (counts / counts.mean() - 1).abs().max() < 0.05
    assert torch.corrcoef(torch.cat([u, u.roll(1, dims=0)], dim=1).T).fill_diagonal_(0).abs().max() < 0.03


def test_every_part_of_the_key_matters():
    ids = torch.arange(5)
    drawn = [uniforms(s, e, ids, 4, c) for s, e, c in ((1, 1, 0), (2, 1, 0), (1, 2, 0), (1, 1, 1), (1 + 2**32, 1, 0))]
    for i, a in enumerate(drawn):
        assert all(not torch.equal(a, b) for b in drawn[:i])


def test_between_stretches():
    assert between(torch.tensor([0.0, 0.5]), -2.0, 4.0).tolist() == [-2.0, 1.0]


def test_pairs_draw_uniform_numbers_that_depend_on_the_order_of_the_pair():
    first, second = torch.arange(200).repeat_interleave(100), torch.arange(100).repeat(200)
    u = pair_uniforms(7, 3, first, second)
    counts = torch.histc(u, bins=10)
    assert (counts / counts.mean() - 1).abs().max() < 0.05
    assert torch.equal(u[500:600], pair_uniforms(7, 3, first[500:600], second[500:600]))
    others = [pair_uniforms(*key, first, second, stream) for *key, stream in ((8, 3, 0), (7, 4, 0), (7, 3, 1))]
    others.append(pair_uniforms(7, 3, second, first))
    for drawn in (*others, u.roll(1), u.roll(100)):
        assert abs(torch.corrcoef(torch.stack([u, drawn]))[0, 1]) < 0.03
