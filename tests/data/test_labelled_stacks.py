import pytest
import torch

from medgraph.data.labelled_slices import LabelledSliceData
from medgraph.data.labelled_stacks import LabelledStackData
from medgraph.data.samples import SampleSource
from medgraph.errors import DataError


def make(**arguments):
    return LabelledStackData(SampleSource(), seed=0, size=(24, 24), num_labelled=2, **arguments)


def test_stacks_are_neighbouring_slices_of_one_volume():
    slices = LabelledSliceData(SampleSource(), seed=0, size=(24, 24), num_labelled=2).train()
    counts = make(num_slices=8)._counts()
    stacks = make(num_slices=8).train()
    batch = stacks.__getitems__(range(len(stacks)))
    every = slices.__getitems__(range(len(slices)))
    place = [int((every.images == stack[0]).flatten(1).all(dim=1).nonzero()[0]) for stack in batch.images]
    for start, images, labels in zip(place, batch.images, batch.labels, strict=True):
        assert torch.equal(images, every.images[start : start + 8])
        assert torch.equal(labels, every.labels[start : start + 8])
        assert start + 8 <= counts[0] or start >= counts[0]  # none spans two volumes
    seen = {start + k for start in place for k in range(8)}
    assert seen == set(range(sum(counts)))  # every slice is in one


def test_spec_counts_stacks_and_volumes(cache_folder):
    data = make(num_slices=8)
    spec = data.spec
    assert not cache_folder.exists()
    assert (spec.num_examples, spec.num_volumes) == (len(data.train()), 2)
    assert spec.num_slices == (min(data._counts()), max(data._counts()))


def test_a_stack_longer_than_a_volume():
    with pytest.raises(DataError, match=r"slices along axis 1, but a stack takes 99. Lower num_slices"):
        make(num_slices=99).spec  # noqa: B018
