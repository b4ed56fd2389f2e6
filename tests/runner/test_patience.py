import pytest
import torch
from torch import nn

from medgraph.config.schema import Train
from medgraph.method import Method
from medgraph.runner.optimizer import SGD
from medgraph.runner.patience import Patience
from medgraph.runner.schedule import Constant
from medgraph.runner.train import train


class Valley(Method):
    """The loss of epoch e is losses[e] plus nothing that depends on the weight, which grows by 1 an epoch."""

    def __init__(self, losses):
        super().__init__()
        self.encoder = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.encoder.weight)
        self.losses, self.seen = losses, 0

    def training_step(self, batch, step, views):
        self.seen += 1
        pull = -self.encoder.weight.sum()
        return {"loss": self.losses[step.epoch] + pull - pull.detach()}


class OneRow:
    def __len__(self):
        return 1

    def __getitems__(self, indices):
        return torch.zeros(1)


def fit(method, folder, **plan):
    plan = {"epochs": 8, "batch_size": 1, "optimizer": {}, "schedule": {}, **plan}
    train(
        method,
        OneRow(),
        Train(**plan),
        optimizer=SGD(lr=1.0, momentum=0.0, weight_decay=0.0),
        schedule=Constant(),
        seed=0,
        folder=folder,
        device="cpu",
        title="valley",
    )
    return method.encoder.weight.item()


LOSSES = [5.0, 3.0, 4.0, 3.0, 2.5, 2.6, 2.7, 1.0]


def test_it_stops_after_so_many_epochs_without_a_new_minimum(tmp_path):
    method = Valley(LOSSES)
    assert fit(method, tmp_path, patience=2) == 2.0  # the best epoch, 1, ends with two steps taken
    assert method.seen == 4  # epoch 3 only equals the minimum


def test_the_last_weights_are_kept_on_request(tmp_path):
    assert fit(Valley(LOSSES), tmp_path, patience=2, keep="last") == 4.0


def test_epochs_of_another_loss_are_not_compared(tmp_path):
    method = Valley([1.0, 1.0, 1.0, 5.0, 4.0, 4.5, 4.6, 0.0])
    method.num_warmup_epochs = 3
    assert fit(method, tmp_path, patience=2) == 5.0
    assert method.seen == 7


def test_a_training_that_ends_in_its_warm_up_keeps_its_weights(tmp_path):
    method = Valley(LOSSES)
    method.num_warmup_epochs = 9
    assert fit(method, tmp_path, patience=2) == 8.0


def test_an_average_is_left_where_no_epoch_was_observed(tmp_path):
    method = Valley(LOSSES)
    method.num_warmup_epochs = 9
    assert fit(method, tmp_path, patience=2, ema=0.5) != 8.0


class Judged(Valley):
    """Watched by an error of its own: here the distance of the weight to 3, seen after the step."""

    def validation_error(self, batches):
        (batch,) = batches
        assert batch.shape == (1,)
        return abs(self.encoder.weight.item() - 3)


def test_a_method_may_give_an_error_to_watch_instead_of_the_loss(tmp_path):
    method = Judged(LOSSES)
    assert fit(method, tmp_path, patience=2) == 3.0
    assert method.seen == 5


def test_without_patience_all_epochs_run(tmp_path):
    assert fit(Valley(LOSSES), tmp_path) == 8.0


def test_a_resumed_run_goes_on_counting(tmp_path):
    fit(Valley(LOSSES), tmp_path, epochs=3, patience=2, keep="last")
    method = Valley(LOSSES)
    fit(method, tmp_path, patience=2)
    assert method.seen == 1
    again = Valley(LOSSES)
    assert fit(again, tmp_path, patience=2) == 2.0
    assert again.seen == 0  # it was over


def test_only_a_lower_loss_is_written(tmp_path):
    patience = Patience(3, tmp_path)
    model = nn.Linear(1, 1)
    patience.observe(0, 1.0, model)
    first = model.weight.clone()
    nn.init.ones_(model.weight)
    patience.observe(1, 1.0, model)
    Patience(3, tmp_path).restore(model)
    assert torch.equal(model.weight, first)
    assert not Patience(3, tmp_path).is_over(3)
    assert Patience(3, tmp_path).is_over(4)


def test_wrong_settings_are_refused():
    settings = {"epochs": 1, "batch_size": 1, "optimizer": {}, "schedule": {}}
    with pytest.raises(ValueError, match="patience: expected 1 or more, got 0"):
        Train(**settings, patience=0)
    with pytest.raises(ValueError, match="keep: has no effect without patience"):
        Train(**settings, keep="last")
