import dataclasses

import pytest
import torch

from medgraph.data.batches import ImageBatch, LabelledImageBatch

IDS = torch.arange(3)
IMAGES = torch.rand(3, 1, 4, 4)


@pytest.mark.parametrize(
    "batch",
    [ImageBatch(IDS, IMAGES, torch.zeros(3, dtype=torch.long)), LabelledImageBatch(IDS, IMAGES, IMAGES[:, 0].long())],
)
def test_a_batch_moves_whole_and_does_not_change(batch):
    moved = batch.to("meta")
    assert {getattr(moved, field.name).device.type for field in dataclasses.fields(batch)} == {"meta"}
    assert moved.images.shape == IMAGES.shape
    assert batch.images.device.type == "cpu"
    with pytest.raises(dataclasses.FrozenInstanceError):
        batch.ids = IDS
