import json
import os
import signal
import threading
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from medgraph.config.schema import Train
from medgraph.errors import ConfigError, DataError, MedgraphError
from medgraph.method import Method, Step
from medgraph.runner import checkpoint
from medgraph.runner import train as train_file
from medgraph.runner.optimizer import AdamW
from medgraph.runner.schedule import Cosine
from medgraph.runner.train import Stopped, pick_device, train


@dataclass(frozen=True)
class Rows:
    x: torch.Tensor

    def to(self, device):
        return Rows(self.x.to(device))


class RowData:
    x = torch.randn(20, 4, generator=torch.Generator().manual_seed(1))

    def __len__(self):
        return len(self.x)

    def __getitems__(self, indices):
        return Rows(self.x[indices])


class Toy(Method):
    """Dropout in the loss, so that a resumed run shows whether its random numbers go on as they should."""

    def __init__(self, stop_at: int | None = None, bad_at: int | None = None):
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Linear(4, 3)
        self.stop_at, self.bad_at, self.epochs = stop_at, bad_at, []

    def on_epoch_start(self, step, batches):
        self.epochs.append((step.epoch, sum(len(batch.x) for batch in batches)))

    def training_step(self, batch, step: Step, views):
        if step.number == self.stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
        loss = nn.functional.dropout(self.encoder(batch.x), 0.5).pow(2).mean()
        return {"loss": loss * float("nan") if step.number == self.bad_at else loss, "mean": batch.x.mean()}


def fit(method, folder, **plan):
    plan = {"epochs": 3, "batch_size": 4, "optimizer": {}, "schedule": {}, **plan}
    train(
        method,
        RowData(),
        Train(**plan),
        optimizer=AdamW(lr=0.01),
        schedule=Cosine(),
        seed=5,
        folder=folder,
        device="cpu",
        title="toy",
    )
    return method.encoder.weight.detach().clone()


@pytest.mark.parametrize("plan", [{}, {"ema": 0.9}])
def test_a_stopped_run_goes_on_to_the_same_weights(tmp_path, plan):
    whole = fit(Toy(), tmp_path / "whole", **plan)
    with pytest.raises(Stopped, match="stopped after step 8 of 15"):
        fit(Toy(stop_at=7), tmp_path / "part", **plan)
    assert torch.equal(fit(Toy(), tmp_path / "part", **plan), whole)
    lines = [(tmp_path / name / "metrics.jsonl").read_text().splitlines() for name in ("whole", "part")]
    assert len(lines[0]) == len(lines[1]) == 15


def test_a_signal_after_the_last_step_is_not_lost(tmp_path, monkeypatch):
    whole, save = fit(Toy(), tmp_path / "whole"), checkpoint.save

    def save_and_stop(folder, model, optimizer, position, average):
        save(folder, model, optimizer, position, average)
        if position.epoch == 3:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(checkpoint, "save", save_and_stop)
    with pytest.raises(Stopped, match="toy: stopped after the last step"):
        fit(Toy(), tmp_path / "part")
    monkeypatch.undo()
    assert torch.equal(fit(Toy(), tmp_path / "part"), whole)


def test_checkpoints_of_short_epochs_wait_but_for_the_last(tmp_path, monkeypatch):
    epochs, save = [], checkpoint.save
    monkeypatch.setattr(checkpoint, "save", lambda *given: (epochs.append(given[3].epoch), save(*given)))
    whole = fit(Toy(), tmp_path / "rare")
    assert epochs == [3]
    epochs.clear()
    fit(Toy(), tmp_path / "patient", patience=5)
    assert epochs == [1, 2, 3]
    epochs.clear()
    clock = iter(range(0, 10_000, 6))
    monkeypatch.setattr(train_file, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    assert torch.equal(fit(Toy(), tmp_path / "long"), whole)
    assert epochs == [2, 3]  # 12 seconds have passed at the end of the second


def test_training_leaves_the_average(tmp_path):
    method = Toy()
    last, averaged = fit(Toy(), tmp_path / "last"), fit(method, tmp_path / "ema", ema=0.9)
    assert not torch.equal(last, averaged)
    tensors, _ = checkpoint.read_tensors(tmp_path / "ema" / checkpoint.FILE)
    assert torch.equal(tensors["model.encoder.weight"], last)  # training itself is not touched
    assert torch.equal(tensors["average.encoder.weight"], averaged)


def test_with_patience_the_best_epoch_is_one_of_averages(tmp_path):
    method = Toy()
    seen = []
    method.validation_error = lambda batches: seen.append(method.encoder.weight.detach().clone()) or -float(len(seen))
    left = fit(method, tmp_path, ema=0.9, patience=5)
    assert torch.equal(left, seen[-1])
    assert not torch.equal(left, fit(Toy(), tmp_path / "last"))


class WithViews(Toy):
    """Notes who asks for views, with which step and from which thread."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.asked, self.given = [], []

    def views_of(self, batch, step: Step):
        self.asked.append((step, threading.get_ident()))
        return batch.x + step.number

    def training_step(self, batch, step: Step, views):
        self.given.append((step, torch.equal(views, batch.x + step.number)))
        return super().training_step(batch, step, views)


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("is_ahead", [True, False])
def test_each_step_gets_its_views(tmp_path, monkeypatch, accumulate, is_ahead):
    monkeypatch.setattr("medgraph.runner.train.has_free_core", lambda: is_ahead)
    method = WithViews()
    fit(method, tmp_path, accumulate=accumulate)
    assert [step for step, _ in method.asked] == [step for step, _ in method.given]
    assert all(right for _, right in method.given)
    assert len(method.given) == 15 - 3 * (accumulate - 1)  # 5 batches an epoch; of two accumulated, 4
    assert (threading.get_ident() not in {thread for _, thread in method.asked}) is is_ahead


def test_a_single_batch_is_prepared_in_its_own_thread(tmp_path, monkeypatch):
    monkeypatch.setattr("medgraph.runner.train.has_free_core", lambda: True)
    method = WithViews()
    fit(method, tmp_path, batch_size=20)
    assert {thread for _, thread in method.asked} == {threading.get_ident()}
    assert len(method.given) == 3


def test_views_made_ahead_go_on_after_a_stop_inside_an_epoch(tmp_path, monkeypatch):
    monkeypatch.setattr("medgraph.runner.train.has_free_core", lambda: True)
    with pytest.raises(Stopped):
        fit(WithViews(stop_at=7), tmp_path)
    method = WithViews()
    fit(method, tmp_path)
    assert [step.number for step, _ in method.given] == list(range(8, 15))
    assert all(right for _, right in method.given)


def test_each_epoch_starts_with_every_example_once(tmp_path):
    method = Toy()
    fit(method, tmp_path)
    assert method.epochs == [(0, 20), (1, 20), (2, 20)]


def test_steps_per_epoch_walks_a_small_set_again(tmp_path):
    fit(Toy(), tmp_path, steps_per_epoch=12, epochs=1)
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 12


@pytest.mark.parametrize("chunks", [2, 3, 9])
def test_an_encoder_in_chunks_learns_the_same_weights(chunks, tmp_path):
    whole = fit(Toy(), tmp_path / "whole")
    torch.testing.assert_close(fit(Toy(), tmp_path / "chunks", grad_cache_chunks=chunks), whole, rtol=0, atol=1e-6)


def test_accumulation_takes_fewer_steps(tmp_path):
    fit(Toy(), tmp_path, accumulate=2, epochs=2)
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 4


class Counting(Toy):
    """The loss of a batch is its number within the epoch; notes the random number each of them meets."""

    def __init__(self):
        super().__init__()
        self.drawn = []

    def training_step(self, batch, step: Step, views):
        self.drawn.append(torch.rand(()).item())
        loss = super().training_step(batch, step, views)["loss"]
        return {"loss": loss - loss.detach() + (len(self.drawn) - 1) % 4}


def test_an_accumulated_step_logs_the_mean_and_draws_for_each_batch(tmp_path):
    method = Counting()
    fit(method, tmp_path, accumulate=2, epochs=1, batch_size=4)
    logged = [json.loads(line)["loss"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert logged == [0.5, 2.5]
    assert len(set(method.drawn)) == 4


class Idle(nn.Module):
    def left_unused(self):
        return ["the spare part never took part. Leave it out."]


def test_what_had_no_effect_is_told_at_the_end(tmp_path):
    method = Toy()
    method.spare = Idle()
    with pytest.warns(UserWarning, match="^toy: the spare part never took part. Leave it out.$"):
        fit(method, tmp_path)


def test_fp16_needs_a_gpu(tmp_path):
    with pytest.raises(ConfigError, match=r"train\.precision: fp16 needs a GPU; on a CPU take fp32, or bf16"):
        fit(Toy(), tmp_path, precision="fp16")


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path):
    with pytest.raises(MedgraphError, match="the loss is nan at step 3"):
        fit(Toy(bad_at=3), tmp_path)


def test_fewer_examples_than_a_batch(tmp_path):
    with pytest.raises(DataError, match="20 training examples, but one batch takes 32"):
        fit(Toy(), tmp_path, batch_size=32)


def test_more_accumulation_than_batches(tmp_path):
    with pytest.raises(DataError, match="do not fill 9 accumulated batches"):
        fit(Toy(), tmp_path, accumulate=9)


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_a_gpu_that_is_not_there():
    with pytest.raises(ConfigError, match="torch sees no GPU"):
        pick_device("cuda")


def test_an_unknown_device():
    with pytest.raises(ConfigError, match="expected auto, cpu or cuda, got 'gpux'"):
        pick_device("gpux")
