import torch

from medgraph.transforms.draws import between, uniforms


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
