"""Stacks hold slices at equal distances of their volume and carry its target; new files are cut alike."""

import numpy as np
import pytest
import torch

from medgraph.data import formats
from medgraph.data.slices import planes_of
from medgraph.data.targeted_stacks import TargetedStackData, evenly
from medgraph.data.targets import ColumnTarget
from medgraph.errors import DataError


@pytest.mark.parametrize("count", range(4, 40))
def test_slices_lie_at_equal_distances_over_the_whole_volume(count):
    found = evenly(count, 4)
    assert len(set(found.tolist())) == 4
    assert set(np.diff(found)) <= {count // 4, count // 4 + 1}
    assert abs(found[0] - (count - 1 - found[-1])) <= 1  # as far from either end
    assert evenly(count, count).tolist() == list(range(count))


def test_each_stack_shows_its_volume_and_has_its_target(labelled_source, ages):
    data = TargetedStackData(
        labelled_source, ColumnTarget(ages, "age", unit="years"), 0, axis=2, size=(10, 12), num_slices=5
    )
    assert (data.spec.spatial_dims, data.spec.size, data.spec.target) == (2, (10, 12), "age, years")
    assert (data.spec.num_examples, data.spec.num_volumes, data.spec.num_slices) == (4, 4, (5, 5))
    cases = {case.id: case for case in labelled_source.cases}
    for part in (data.train(), data.test()):
        batch = part.__getitems__(range(len(part)))
        assert batch.images.shape == (len(part), 5, 1, 10, 12)
        assert batch.labels.tolist() == [50 + int(name[-1]) for name in part.names]
        for name, stack in zip(part.names, batch.images, strict=True):
            cut = planes_of(cases[name], data.cache, 2, (10, 12))
            slices = cut.cut(data.cache.prepared(cases[name].image))
            np.testing.assert_array_equal(stack[:, 0].numpy(), slices[evenly(cut.num_slices, 5)])
            new = data.new_case(formats.case_file(cases[name].image))
            assert torch.equal(new.images, stack)


def test_few_labels_are_nested(labelled_source, ages):
    def names(count):
        kinds = ColumnTarget(ages, "kind", ("k0", "k1"))
        return set(
            TargetedStackData(labelled_source, kinds, 3, size=(8, 8), num_slices=4, num_labelled=count).train().names
        )

    assert names(2) <= names(0.6) <= names(None)
    assert (len(names(0.6)), len(names(None))) == (3, 4)


def test_volumes_of_too_few_slices_are_named_before_training(labelled_source, ages):
    def data(**changes):
        return TargetedStackData(labelled_source, ColumnTarget(ages, "age"), 0, axis=2, **{"num_slices": 99, **changes})

    for ask in (lambda: data().spec, data().train, data().check_test):
        with pytest.raises(DataError, match=r"\d+ slices along axis 2, but a stack takes 99. Lower num_slices"):
            ask()
    with pytest.raises(DataError, match="but a stack takes 99"):
        data().new_case(formats.case_file(labelled_source.cases[0].image))
    data(num_slices=2).check_test()
