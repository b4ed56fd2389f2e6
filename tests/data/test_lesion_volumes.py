import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from reference.six_volumes import six_volumes

from medgraph.data.cases import Case
from medgraph.data.lesion_volumes import LesionVolumesData, implant
from medgraph.data.nifti import write_volume
from medgraph.data.samples import SampleSource
from medgraph.errors import DataError


@pytest.fixture
def source(tmp_path):
    return six_volumes(tmp_path, spacing=(2.0, 1.0, 1.0))


def make(source, **changes):
    return LesionVolumesData(
        source, **{"window": (12, 14, 10), "radius": (2.0, 3.0), "lesions_per_subject": 5, **changes}
    )


def test_groups_share_no_subject_in_training_and_both_hold_every_test_subject(source):
    train, test = make(source).train(), make(source).test()
    assert not set(train.subjects[train.is_target].tolist()) & set(train.subjects[~train.is_target].tolist())
    assert set(test.subjects[test.is_target].tolist()) == set(test.subjects[~test.is_target].tolist()) == {0, 1}
    assert len(train) == make(source).spec.num_examples == 2 + 2 * 5
    with pytest.raises(DataError, match="lesion_volumes: nothing is kept aside for validation"):
        make(source).validation()


def test_validation_subjects_are_training_subjects_kept_aside(source):
    data = make(source, validation_share=0.5)
    parts = {part: {case.subject for case in data._cases(part)} for part in ("train", "validation", "test")}
    assert [len(parts[name]) for name in ("train", "validation", "test")] == [2, 2, 2]
    assert not parts["train"] & parts["validation"]
    assert len(data.validation()) == 2 + 2 * 5
    assert len(data.train()) == data.spec.num_examples == 1 + 5
    before, after = make(source).test(), data.test()
    assert torch.equal(before.__getitems__([1, 7]).images, after.__getitems__([1, 7]).images)


def test_a_source_with_a_validation_part_beside_its_test_part_is_taken_as_it_is(source):
    source.cases = tuple(dataclasses.replace(c, part="validation") if c.id == "1" else c for c in source.cases)
    data = make(source, validation_share=0.5)
    assert [len(data._cases(part)) for part in ("train", "validation", "test")] == [3, 1, 2]


def test_without_a_test_part_the_validation_part_tests_and_training_subjects_validate(source):
    source.cases = tuple(dataclasses.replace(c, part=c.part.replace("test", "validation")) for c in source.cases)
    assert len(make(source).test()) == 2 + 2 * 5
    data = make(source, validation_share=0.25)
    assert [len(data._cases(part)) for part in ("train", "validation", "test")] == [3, 1, 2]


def test_fresh_lesions_change_with_epoch_and_seed_and_bring_their_facts(source):
    data = make(source, fresh=True, seed=4)
    train, fixed = data.train(), make(source).train()
    (first,), (again,), (later,) = (train.at_epoch([[0, 3, 9]], epoch) for epoch in (0, 0, 1))
    drawn = {name: train.__getitems__(rows) for name, rows in (("first", first), ("again", again), ("later", later))}
    assert torch.equal(drawn["first"].images, drawn["again"].images)
    assert drawn["later"].ids.tolist() == [0, 3, 9]
    assert torch.equal(drawn["first"].images[0], drawn["later"].images[0])  # background stays
    assert (drawn["first"].images[1:] != drawn["later"].images[1:]).any()
    assert (drawn["first"].attributes[1:, 0] != drawn["later"].attributes[1:, 0]).all()
    assert torch.equal(drawn["first"].attributes[:, 5:], fixed.__getitems__([0, 3, 9]).attributes[:, 5:])
    other = make(source, fresh=True, seed=5).train()
    assert (other.__getitems__(first).attributes[1:, 0] != drawn["first"].attributes[1:, 0]).all()
    assert torch.equal(train.__getitems__([3]).images, fixed.__getitems__([3]).images)  # what probes are fitted on
    assert data.test().at_epoch([[1]], 3) == [[1]]


def test_paired_training_holds_every_subject_in_both_groups(source):
    data = make(source, paired=True)
    train = data.train()
    assert set(train.subjects[train.is_target].tolist()) == set(train.subjects[~train.is_target].tolist())
    assert len(train) == data.spec.num_examples == 4 + 4 * 5


def test_known_facts_are_those_of_the_labels(source):
    data = make(source)
    names = [attribute.name for attribute in data.attributes]
    assert names == ["radius", "intensity", "offset_lr", "offset_ap", "side", "volume", "front_part_share"]
    facts = data.train().attributes
    assert (facts[:, 5] == 6 * 8 * 4 * 2).all()  # voxels of 2 cubic mm
    assert (facts[:, 6] == 0.5).all()
    assert facts[:2, :5].isnan().all()
    targets = facts[2:]
    assert ((targets[:, 0] >= 2) & (targets[:, 0] <= 3)).all()
    assert torch.equal(targets[:, 4] == 1, targets[:, 2] > 0)
    assert targets[:, 2].abs().max() <= 5  # half of 6 voxels of 2 mm
    assert "intensity" not in [a.name for a in make(source, intensity=(-2.0, -2.0)).attributes]


def test_a_lesion_is_a_dark_ball_of_its_radius_in_mm():
    ones = np.ones((21, 21, 21), np.float32)
    volume = implant(ones, np.array([2.0, 1.0, 1.0]), np.array([10.0, 10.0, 10.0]), 6.0, -3.0)
    dark = volume < 0.5
    assert dark.sum() * 2 == pytest.approx(4 / 3 * np.pi * 6**3, rel=0.08)  # voxels of 2 mm
    assert dark[:, 10, 10].sum() * 2 == pytest.approx(dark[10, :, 10].sum(), abs=2)
    assert volume[10, 10, 10] == pytest.approx(0, abs=1e-4)
    assert volume[0, 0, 0] == 1


def test_targets_are_their_background_plus_a_lesion_and_never_change(source):
    data = make(source)
    test = data.test()
    batch = test.__getitems__(range(len(test)))
    assert torch.equal(batch.images, data.test().__getitems__(range(len(test))).images)
    plain = batch.images[0]  # the first subject without lesion; its targets are examples 2 to 6
    for image in batch.images[2:7]:
        changed = (image - plain).abs() > 0.05
        assert 10 < changed.sum() < 400
        assert image[changed].mean() < plain[changed].mean()


def test_pooling_averages(source):
    fine, coarse = make(source, window=(12, 14, 10)), make(source, window=(12, 14, 10), pool=2)
    assert coarse.spec.size == (6, 7, 5)
    whole = fine.train().__getitems__([0]).images
    pooled = coarse.train().__getitems__([0]).images
    torch.testing.assert_close(pooled, torch.nn.functional.avg_pool3d(whole, 2))


def test_the_shipped_volumes_fit_the_default_window():
    spec = LesionVolumesData(SampleSource(), pool=2).spec
    assert spec.size == (15, 20, 13)
    assert spec.num_examples == 12 + 12 * 16


def test_a_volume_smaller_than_the_window_is_refused_not_padded(source):
    with pytest.raises(DataError, match=r"has \(14, 16, 12\) voxels, expected at least the window \(15, 14, 10\)"):
        make(source, window=(15, 14, 10)).train()


def test_volumes_without_labels_are_refused(source, tmp_path):
    bare = SimpleNamespace(cases=tuple(Case(c.id, c.subject, c.image, None, c.part) for c in source.cases))
    with pytest.raises(DataError, match="has no label file"):
        LesionVolumesData(bare, window=(12, 14, 10)).train()
    empty = tmp_path / "empty.nii"
    write_volume(empty, np.zeros((14, 16, 12), np.uint8), np.diag([2.0, 1, 1, 1]))
    cases = tuple(Case(c.id, c.subject, c.image, empty, c.part) for c in source.cases)
    with pytest.raises(DataError, match="labels nothing, expected a structure"):
        make(SimpleNamespace(cases=cases, classes=source.classes)).train()


def test_labels_of_which_none_lies_in_the_window_are_named(source, tmp_path):
    apart = np.zeros((14, 16, 12), np.uint8)
    apart[:2], apart[-2:] = 1, 1  # as those of two sides
    write_volume(tmp_path / "apart.nii", apart, np.diag([2.0, 1, 1, 1]))
    cases = tuple(Case(c.id, c.subject, c.image, tmp_path / "apart.nii", c.part) for c in source.cases)
    bilateral = SimpleNamespace(cases=cases, classes=source.classes)
    assert len(make(bilateral, window=(14, 14, 10)).train()) > 0
    with pytest.raises(DataError, match=r"apart.nii: no labelled voxel lies in the window \(8, 14, 10\)"):
        make(bilateral, window=(8, 14, 10)).train()


def test_a_source_that_names_no_structure_is_refused(source):
    nameless = SimpleNamespace(cases=source.cases, classes=())
    with pytest.raises(DataError, match=r"has the classes \(\), expected names of the background and of a labelled"):
        _ = make(nameless).spec


def test_a_pool_wider_than_the_window_is_refused(source):
    with pytest.raises(ValueError, match="pool: expected a number from 1 to 10, got 11"):
        make(source, pool=11)


def test_a_part_without_cases_is_named(source):
    source.cases = tuple(case for case in source.cases if case.part == "train")
    with pytest.raises(DataError, match=r"lesion_volumes, test: the target group is empty, .* Split otherwise"):
        make(source).test()
