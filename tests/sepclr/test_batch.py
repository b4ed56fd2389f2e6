import torch

from medgraph.sepclr.batch import Codes


def test_codes_are_unit_or_free_and_clamped_on_the_background(rng):
    common, salient = 5 * torch.randn(8, 3, generator=rng), 5 * torch.randn(8, 2, generator=rng)
    is_target = torch.tensor([True, False, True, False])
    codes = Codes.of_views(common, salient, is_target)
    torch.testing.assert_close(codes.common[1].norm(dim=1), torch.ones(4))
    assert torch.equal(codes.salient[1], salient[4:])
    assert (codes.clamped[0][~is_target] == 0).all()
    assert torch.equal(codes.clamped[1][is_target], salient[4:][is_target])


def test_an_all_zero_row_stays_finite():
    codes = Codes.of_views(torch.zeros(2, 3), torch.zeros(2, 3), torch.tensor([True]))
    assert codes.common[0].isfinite().all()


def test_alone_gathering_changes_nothing(rng):
    codes = Codes.of_views(
        torch.randn(4, 3, generator=rng), torch.randn(4, 2, generator=rng), torch.tensor([True, False])
    )
    gathered = codes.gathered()
    assert torch.equal(gathered.common[0], codes.common[0])
    assert torch.equal(gathered.is_target, codes.is_target)


def test_packed_codes_come_back_without_gradient(rng):
    common, salient = torch.randn(8, 3, generator=rng).requires_grad_(), torch.randn(8, 2, generator=rng)
    codes = Codes.of_views(common, salient, torch.tensor([True, False, True, False]))
    again = Codes.unpacked(codes.packed(), codes.is_target, common_dim=3)
    for own, back in zip((*codes.common, *codes.salient), (*again.common, *again.salient), strict=True):
        assert torch.equal(own, back)
        assert not back.requires_grad
