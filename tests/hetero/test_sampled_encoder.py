import pytest
import torch
from hetero.whole import planted_batches, sampled_encoder

from medgraph.hetero.layerwise import Layerwise
from medgraph.hetero.sampled_encoder import SampledMetapathEncoder


def test_a_batch_of_all_targets_with_all_neighbours_is_the_layerwise_pass():
    data = planted_batches()
    encoder = sampled_encoder(data).eval()
    whole = encoder.encode(data.views)
    batch = encoder.encode(data.train().__getitems__(range(90)).sample(0, 0))
    torch.testing.assert_close(batch.fine, whole.fine, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(batch.coarse, whole.coarse, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(encoder(data.views), whole.fine)


def test_running_weights_of_the_views_embed_after_training():
    data = planted_batches()
    encoder = sampled_encoder(data, attention_decay=0.75).train()
    first = encoder.encode(data.train().__getitems__(range(20)).sample(0, 0)).attention
    torch.testing.assert_close(encoder.attention_average, first)
    second = encoder.encode(data.train().__getitems__(range(20, 90)).sample(0, 0)).attention
    torch.testing.assert_close(encoder.attention_average, 0.75 * first + 0.25 * second)
    views = list(encoder.eval().encode(data.views).attention)
    torch.testing.assert_close(torch.stack(views), encoder.attention_average)
    with torch.no_grad():
        encoder.attention_average.copy_(torch.tensor([1.0, 0, 0, 0]))
    alone = next(Layerwise(encoder, data.views).fine())
    torch.testing.assert_close(encoder(data.views), alone)


def test_evaluation_neither_draws_nor_learns():
    data = planted_batches(fan_out=(4, 3))
    encoder = sampled_encoder(data, dropout=0.5)
    encoder.train()
    assert torch.equal(encoder(data.views), encoder(data.views))  # embedding is clean in training mode too
    encoder.eval()
    encoder.encode(data.train().__getitems__(range(20)).sample(0, 0))
    assert not encoder.attention_average.any()


def test_a_round_trip_gives_the_same_bits():
    data = planted_batches()
    encoder = sampled_encoder(data, dropout=0.2).train()
    encoder.encode(data.train().__getitems__(range(20)).sample(0, 0))
    copy = SampledMetapathEncoder(data.spec, dim=16)
    copy.load_state_dict(encoder.state_dict())
    assert torch.equal(copy.eval()(data.views), encoder.eval()(data.views))


def test_wrong_settings_are_refused():
    data = planted_batches()
    for wrong, message in (
        ({"norm": "global"}, "norm: expected one of 'row', 'none', got 'global'"),
        ({"attention_decay": 1.5}, "attention_decay: expected a number from 0"),
    ):
        with pytest.raises(ValueError, match=message):
            SampledMetapathEncoder(data.spec, **wrong)
