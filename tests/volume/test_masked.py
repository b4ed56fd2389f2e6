import copy
from types import SimpleNamespace

import pytest
import torch

from medgraph.losses.masked_prediction import MaskedPrediction
from medgraph.method import Step
from medgraph.transforms.stack_views import StackViews
from medgraph.volume.masked import Masked, Masker, num_hidden

STILL = StackViews(rotation=0, scale=(1, 1), shift=0, kinds=("none",), different=False)


@pytest.fixture
def make(spec, make_encoder):
    def make(views=None, by_batch=False, **arguments) -> Masked:
        encoder = make_encoder(tokens_by_batch=by_batch)
        return Masked(spec, encoder, views or StackViews(), MaskedPrediction(), **arguments).train()

    return make


def trained(method, batch, steps=3):
    optimizer = torch.optim.AdamW(method.parameter_groups()[0]["params"], lr=1e-2)
    method.on_epoch_start(Step(0, 0, 0), [batch])
    for number in range(steps):
        optimizer.zero_grad()
        outputs = method(batch, Step(0, 0, number))
        outputs["loss"].backward()
        optimizer.step()
    return outputs


@pytest.mark.parametrize(("cached", "by_batch"), [(0, False), (2, False), (0, True), (2, True)])
def test_slice_encoder_and_map_stay_bitwise_equal(cached, by_batch, make, make_stacks):
    """Every parameter and buffer of the frozen part, batch statistics included (10.10)."""
    method = make(num_cached_views=cached, by_batch=by_batch)
    before = copy.deepcopy(method.encoder.state_dict())
    trained(method, make_stacks())
    after = method.encoder.state_dict()
    frozen = [name for name in before if name.startswith(("slice_encoder", "tokens.linear"))]
    assert all(torch.equal(before[name], after[name]) for name in frozen)
    moved = [name for name in before if name.startswith("transformer") and not torch.equal(before[name], after[name])]
    assert len(moved) > 5


def test_tokens_are_standardised_and_the_statistics_leave_with_the_encoder(make, make_stacks):
    method, batch = make(STILL, num_cached_views=1), make_stacks()
    method.on_epoch_start(Step(0, 0, 0), [batch])
    tokens = method.encoder.slice_tokens(batch.slices, batch.valid)[batch.valid]
    torch.testing.assert_close(tokens.mean(dim=0), torch.zeros(16), rtol=0, atol=1e-3)
    torch.testing.assert_close(tokens.std(dim=0, correction=0), torch.ones(16), rtol=0, atol=1e-2)
    assert {"tokens.mean", "tokens.std"} <= method.encoder.state_dict().keys()


@pytest.mark.parametrize(("standardize", "by_batch"), [(True, False), (True, True), (False, False)])
def test_kept_tokens_are_those_of_the_encoder(standardize, by_batch, make, make_stacks):
    method = make(STILL, by_batch=by_batch, num_cached_views=2, standardize=standardize)
    batch = make_stacks()
    method.on_epoch_start(Step(0, 0, 0), [batch])
    tokens, valid = method._cached(batch.ids, Step(0, 3, 7))
    expected = method.encoder.slice_tokens(batch.slices, batch.valid).repeat(2, 1, 1)
    assert torch.equal(valid, batch.valid.repeat(2, 1))
    torch.testing.assert_close(tokens[valid], expected[valid], rtol=0, atol=1e-4)


def test_a_window_of_kept_tokens_moves_with_the_step(make, make_stacks):
    method, batch = make(StackViews(num_slices=4), num_cached_views=1), make_stacks()
    method.on_epoch_start(Step(0, 0, 0), [batch])
    seen = [method._cached(batch.ids, Step(0, 0, number))[0][0] for number in range(6)]
    assert all(tokens.shape == (4, 16) for tokens in seen)
    assert len({float(tokens.sum()) for tokens in seen}) > 1


@pytest.mark.parametrize("cached", [0, 2])
def test_steps_read_no_slices_where_tokens_are_kept(cached, make, make_stacks):
    """A batch of ids alone gives the loss that the whole batch gives."""
    method, batch = make(STILL, num_cached_views=cached), make_stacks()
    method.on_epoch_start(Step(0, 0, 0), [batch])
    dataset = SimpleNamespace(ids=batch.ids, __getitems__=lambda indices: batch)
    given = method.step_data(dataset)
    if not cached:
        assert given is dataset
        return
    order = list(range(len(given)))
    small = given.__getitems__(order[::-1]).to("cpu")
    assert vars(small).keys() == {"ids"}
    assert torch.equal(small.ids, batch.ids.flip(0))
    losses = []
    for each in (given.__getitems__(order), batch):
        torch.manual_seed(0)  # of dropout
        losses.append(method(each, Step(0, 0, 3))["loss"])
    assert torch.equal(*losses)


def test_the_window_is_the_one_that_views_would_show(make_stacks):
    views, batch = StackViews(num_slices=2, stride=2), make_stacks()
    lengths = batch.valid.sum(dim=1)
    for epoch in range(5):
        start = views.draw_start(3, epoch, batch.ids, lengths)
        assert torch.equal(start, views.draw(3, epoch, batch.ids, lengths)["start"])


def test_filling_reads_the_volumes_once(make, make_stacks):
    method = make()
    method.on_epoch_start(Step(0, 0, 0), [make_stacks()])

    def forbidden():
        raise AssertionError("read twice")
        yield

    method.on_epoch_start(Step(0, 1, 5), forbidden())


@pytest.mark.parametrize(("n", "ratio", "count"), [(64, 0.1, 6), (5, 0.1, 1), (3, 0.0, 1), (10, 0.35, 4), (8, 0.5, 4)])
def test_the_number_of_hidden_slices(n, ratio, count, rng):
    assert num_hidden(torch.tensor(n), ratio) == max(1, round(ratio * n)) == count
    masker = Masker(4, ratio, "masked", fewest=n)
    valid = torch.arange(n + 3) < torch.full((6, 1), n)
    mask = masker.draw(torch.arange(6), valid, Step(0, 0, 1))
    assert mask.sum(dim=1).tolist() == [count] * 6
    assert not (mask & ~valid).any()
    assert not torch.equal(mask, masker.draw(torch.arange(6), valid, Step(0, 0, 2)))


@pytest.fixture
def hidden(make_encoder, rng):
    """A masker with its transformer, tokens and a mask, in float64 and without dropout."""
    masker = Masker(16, 0.3, "masked", fewest=9).double()
    tokens = torch.randn(2, 9, 16, generator=rng, dtype=torch.float64)
    valid = torch.ones(2, 9, dtype=torch.bool)
    transformer = make_encoder().double().eval().transformer
    return masker, transformer, tokens, valid, masker.draw(torch.arange(2), valid, Step(0, 0, 0))


def test_hidden_tokens_do_not_leak_and_visible_ones_tell(hidden, rng):
    masker, transformer, tokens, valid, mask = hidden
    predicted = masker(transformer, tokens, valid, mask)
    changed = tokens.clone()
    changed[mask] = torch.randn(int(mask.sum()), 16, generator=rng, dtype=torch.float64)
    torch.testing.assert_close(masker(transformer, changed, valid, mask), predicted, rtol=0, atol=0)
    changed = tokens.clone()
    changed[~mask] = torch.randn(int((~mask).sum()), 16, generator=rng, dtype=torch.float64)
    assert (masker(transformer, changed, valid, mask) - predicted)[mask].abs().max() > 1e-3


@pytest.mark.parametrize("scope", ["masked", "all"])
def test_which_slices_are_scored_and_that_targets_carry_no_gradient(scope, hidden):
    masker, transformer, tokens, valid, mask = hidden
    masker.scope = scope
    tokens = tokens.requires_grad_()
    predicted = masker(transformer, tokens.detach(), valid, mask).detach().requires_grad_()
    MaskedPrediction()(predicted, tokens, masker.scored(mask, valid), valid).backward()
    assert tokens.grad is None
    assert ((predicted.grad != 0).any(dim=2) == (mask if scope == "masked" else valid)).all()


def test_it_learns(make, make_stacks):
    method, batch = make(STILL, num_cached_views=1, mask_ratio=0.2), make_stacks()
    first, last = trained(method, batch, 1), trained(method, batch, 40)
    assert last["loss"] < 0.8 * first["loss"]


def test_a_restored_run_goes_on_with_the_same_loss(make, make_stacks):
    first, batch = make(), make_stacks()
    trained(first, batch)
    again = make()
    again.load_state_dict(first.state_dict())
    again.on_epoch_start(Step(0, 1, 3), iter([]))  # nothing is read again
    losses = []
    for method in (first, again):
        torch.manual_seed(4)
        losses.append(method(batch, Step(0, 1, 3))["loss"].item())
    assert losses[0] == losses[1]


def test_it_is_watched_and_drawn(make, make_stacks, tmp_path):
    method, batch = make(), make_stacks()
    method.on_epoch_start(Step(0, 0, 0), [batch])
    assert {"effective_rank", "order_sensitivity"} <= method(batch, Step(0, 0, 0)).keys()
    assert method(batch, Step(0, 0, 1)).keys() == {"loss"}
    method.illustrate(tmp_path, make_stacks((6,)))
    assert len(list((tmp_path / "slice_attention").iterdir())) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"mask_ratio": 1.0}, "mask_ratio: 1.0 hides 5 of the 5 slices of the shortest view"),
        ({"mask_ratio": 0.95}, "mask_ratio: 0.95 hides 5 of the 5 slices"),
        ({"views": StackViews(num_slices=1)}, "mask_ratio: 0.1 hides 1 of the 1 slices"),
        ({"mask_ratio": 1.5}, "mask_ratio: expected a number from 0.0 to 1.0, got 1.5"),
        ({"scope": "some"}, "scope: expected one of 'masked', 'all', got 'some'"),
        ({"num_cached_views": -1}, "num_cached_views: expected 0 or more, got -1"),
        ({"views": StackViews(num_slices=9)}, "9 slices with stride 1 span 9, but the shortest training volume has 5"),
    ],
)
def test_wrong_settings(make, arguments, words):
    with pytest.raises(ValueError, match=words):
        make(**arguments)


def test_it_is_built_without_memory(make):
    with torch.device("meta"):
        assert make().cache.device.type == "meta"
