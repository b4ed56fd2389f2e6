import pytest

from medgraph import config
from medgraph.runner.compare import SCRATCH, arm_folder, earlier_twin
from medgraph.runner.folder import RunFolder

PIPELINE = """name: two-verdicts
seed: 0
stages:
  pretrain: {config: quickstart/pretrain.yaml}
  first: {config: quickstart/verdict.yaml, start_from: pretrain}
  more: {config: quickstart/pretrain.yaml, start_from: pretrain}
  second: {config: quickstart/verdict.yaml, start_from: more}
"""


@pytest.fixture
def run(tmp_path):
    (tmp_path / "two.yaml").write_text(PIPELINE)
    folder = RunFolder(tmp_path / "run")
    path = arm_folder(folder.stage("first"), SCRATCH, 4, 0)
    path.mkdir(parents=True)
    (path / "scores.json").write_text("{}")
    return tmp_path / "two.yaml", folder, path


def find(file, folder, stage="second", num_labelled=4, overrides=()):
    pipeline = config.load(file, overrides)
    return earlier_twin(pipeline.stages[stage], pipeline, folder, num_labelled, 0)


def test_the_same_training_from_scratch_is_not_repeated(run):
    file, folder, path = run
    assert find(file, folder) == path


@pytest.mark.parametrize("change", ["train.epochs=3", "method.encoder.width=32", "data.size=[40, 40]"])
def test_any_other_training_is(change, run):
    file, folder, _ = run
    assert find(file, folder, overrides=[f"second.{change}"]) is None


def test_other_labels_and_the_stage_itself_are_no_twins(run):
    file, folder, _ = run
    assert find(file, folder, num_labelled=2) is None
    assert find(file, folder, stage="first") is None
