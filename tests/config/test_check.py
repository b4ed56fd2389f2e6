"""Each mistake a config can hold gets its place, what was expected, what came, and all mistakes come at once."""

import sys

import pytest
from config.conftest import CONFIG, PIPELINE

from medgraph import config
from medgraph.errors import ConfigError

ONE_STAGE = "name: tiny\nseed: 7\nstages:\n  first: {config: stage.yaml}\n"


def errors(path, overrides=()) -> list[str]:
    """The lines that loading a wrong pipeline gives."""
    with pytest.raises(ConfigError) as caught:
        config.load(path, overrides)
    return str(caught.value).splitlines()


def test_good_pipeline_has_every_default_written_out(write):
    pipeline = config.load(write())
    stage = pipeline.stages["second"]
    assert (pipeline.name, pipeline.seed, stage.start_from, stage.kind) == ("tiny", 7, "first", "train")
    assert stage.data == {"name": "fake", "root": "here", "size": [4, 8], "axis": None}
    assert stage.method["loss"] == {"name": "fake", "temperature": 0.1, "mode": "hard"}
    assert stage.method["transforms"] == [{"name": "fake", "probability": 0.5}, {"name": "fake", "probability": 1}]
    assert stage.train.optimizer == {"name": "fake", "lr": 1e-3}
    assert stage.train.precision == "fp32"
    assert stage.train.grad_cache_chunks == 1
    chunked = config.load(write(), ["first.train.grad_cache_chunks=4"])
    assert chunked.stages["first"].train.grad_cache_chunks == 4
    assert stage.config_path == "stage.yaml"


def test_checking_imports_no_part(write):
    config.load(write())
    assert "fake_plugin.parts" not in sys.modules


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("temperature: 0.1", "temprature: 0.1",
         "stage.yaml:7:5: first.method.loss.temprature: Loss has no such parameter; did you mean 'temperature'?"),
        ("temperature: 0.1", "temperature: warm",
         "stage.yaml:7:5: first.method.loss.temperature: expected float, got 'warm'"),
        ("temperature: 0.1", "temperature: -1",
         "stage.yaml:7:5: first.method.loss.temperature: expected a number above 0, got -1"),
        ("temperature: 0.1", "temperature: .nan",
         "stage.yaml:7:5: first.method.loss.temperature: expected a number above 0, got nan"),
        ("temperature: 0.1", "temperature: 1" + "0" * 400,
         "stage.yaml:7:5: first.method.loss.temperature: int too large to convert to float"),
        ("temperature: 0.1", "temperature: true",
         "stage.yaml:7:5: first.method.loss.temperature: expected float, got True"),
        ("temperature: 0.1", "mode: sofd",
         "stage.yaml:7:5: first.method.loss.mode: expected one of 'hard', 'soft', got 'sofd'; did you mean 'soft'?"),
        ("temperature: 0.1", "temperature: 0.1\n    temperature: 0.2",
         "stage.yaml:8:5: temperature: duplicate key; it stands at stage.yaml:7:5 already"),
        ("method:\n  name: fake", "method:\n  name: fakir",
         "stage.yaml:4:3: first.method.name: no method is called 'fakir'; did you mean 'fake'? Known: fake."),
        ("method:\n  name: fake", "method:\n  name: [fake]",
         "stage.yaml:4:3: first.method.name: expected a word, got ['fake']. Known: fake."),
        ("    name: fake\n", "    name: {fake: 1}\n",
         "stage.yaml:6:5: first.method.loss.name: expected a word, got {'fake': 1}. Known: fake."),
        ("kind: train", "kind: [train]", "stage.yaml:1:1: first.kind: no kind of stage is called ['train']; "
         "did you mean 'train'?"),
        ("kind: train", "kind: {train: 1}", "stage.yaml:1:1: first.kind: no kind of stage is called {'train': 1}. "
         "Known: train, evaluate, compare."),
        ("epochs: 2", "epochs: 2\n  members: 1000000",
         "stage.yaml:11:3: first.train.members: expected a number from 1 to 100, got 1000000"),
        ("method:\n  name: fake\n", "method:\n",
         "stage.yaml:3:1: first.method: missing key 'name'. Known: fake."),
        ("    name: fake\n", "", "stage.yaml:5:3: first.method.loss: missing key 'name'. Known: fake."),
        ("probability: 1}", "probability: 1.5}",
         "stage.yaml:8:43: first.method.transforms.1.probability: expected a number from 0.0 to 1.0, got 1.5"),
        ("transforms: [{name: fake}, {name: fake, probability: 1}]", "transforms: {name: fake}",
         "stage.yaml:8:3: first.method.transforms: expected a list of parts, got {'name': 'fake'}"),
        ("root: here", "root: 3", "stage.yaml:2:20: first.data.root: expected str | Path, got 3"),
        ("root: here", "axis: 1", "stage.yaml:2:1: first.data: missing key 'root'; Data needs it: str | Path"),
        ("root: here", "root: here, size: [1]",
         "stage.yaml:2:32: first.data.size: expected tuple[int, int], got [1]"),
        ("root: here", "root: here, seed: 3",
         "stage.yaml:2:32: first.data.seed: is filled from the pipeline: remove this line"),
        ("data: {name: fake, root: here}\n", "",
         "stage.yaml:1:1: first: missing key 'data'; a stage of kind 'train' needs it"),
        ("data: {name: fake, root: here}", "data: fake",
         "stage.yaml:2:1: first.data: expected a mapping with the key 'name', got 'fake'. Known: fake."),
        ("epochs: 2", "epochs: 2.5", "stage.yaml:10:3: first.train.epochs: expected int, got 2.5"),
        ("epochs: 2", "epochs: 0", "stage.yaml:10:3: first.train.epochs: expected 1 or more, got 0"),
        ("epochs: 2", "epochs: 2\n  clip_norm: -1",
         "stage.yaml:11:3: first.train.clip_norm: expected a number above 0, got -1"),
        ("epochs: 2", "epochs: 2\n  precision: fp8",
         "stage.yaml:11:3: first.train.precision: expected one of 'fp32', 'bf16', 'fp16', got 'fp8'"),
        ("kind: train", "kind: trian", "stage.yaml:1:1: first.kind: no kind of stage is called 'trian'; "
         "did you mean 'train'?"),
        ("kind: train", "kind: train\ncompare: {num_labelled: [4], seeds: [0]}",
         "stage.yaml:2:1: first.compare: a stage of kind 'train' has no such key. "
         "Known: kind, data, method, train, evaluator, choose."),
        ("kind: train\n", "", "stage.yaml:1:1: first.kind: missing key 'kind'. Known: train, evaluate, compare."),
    ],
)  # fmt: skip
def test_one_mistake_gives_one_line(write, old, new, expected):
    assert old in CONFIG
    assert errors(write(CONFIG.replace(old, new, 1), ONE_STAGE)) == [expected]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("seed: 7", "seed: soon", "tiny.yaml:2:1: seed: expected an int from 0 to 2147483647, got 'soon'"),
        ("seed: 7", "seed: -1", "tiny.yaml:2:1: seed: expected an int from 0 to 2147483647, got -1"),
        ("seed: 7\n", "", "tiny.yaml:1:1: missing key 'seed' of the pipeline"),
        ("name: tiny", "name: a/b", "tiny.yaml:1:1: name: expected letters, digits, dashes, got 'a/b'"),
        ("seed: 7", "seed: 7\nstage: 3", "tiny.yaml:3:1: stage: a pipeline has no such key; did you mean 'stages'?"),
        ("{config: stage.yaml}", "{config: stag.yaml}",
         "tiny.yaml:4:11: first.config: no such file: 'stag.yaml'"),
        ("{config: stage.yaml}", "{config: 3}", "tiny.yaml:4:11: first.config: expected a stage with the keys kind, "
         "data, ..."),
        ("{config: stage.yaml}", "{}", "tiny.yaml:4:3: first: missing key 'config'"),
        ("{config: stage.yaml}", "stage.yaml", "tiny.yaml:4:3: first: expected {config: file.yaml}, got 'stage.yaml'"),
        ("  first: {config: stage.yaml}", "  First: {config: stage.yaml}\n  first: {config: stage.yaml}",
         "tiny.yaml:4:3: First: expected a stage name of small letters, digits and underscores"),
        ("start_from: first", "start_from: frist", "tiny.yaml:5:32: second.start_from: expected an earlier stage, "
         "got 'frist': it is not among the stages before 'second'; did you mean 'first'?"),
        ("first: {config: stage.yaml}", "first: {config: stage.yaml, start_from: second}",
         "tiny.yaml:4:31: first.start_from: expected an earlier stage, got 'second': it comes later. Known: none."),
        ("start_from: first", "start_at: first", "tiny.yaml:5:32: second.start_at: a stage of a pipeline has no such "
         "key; did you mean 'start_from'?"),
    ],
)  # fmt: skip
def test_one_mistake_in_the_pipeline_gives_one_line(write, old, new, expected):
    assert old in PIPELINE
    assert errors(write(pipeline=PIPELINE.replace(old, new, 1))) == [expected]


def test_a_stage_sets_what_differs_from_its_config(write):
    both = PIPELINE.replace(
        "start_from: first", "start_from: first, set: {train.epochs: 5, method.loss: {name: fake, mode: soft}}"
    )
    path = write(pipeline=both)
    first, second = config.load(path).stages.values()
    assert (first.train.epochs, second.train.epochs) == (2, 5)
    assert second.method["loss"] == {**first.method["loss"], "temperature": 0.1, "mode": "soft"}
    assert config.load(path, ["second.train.epochs=7"]).stages["second"].train.epochs == 7  # the command line wins
    (path.parent / "again.yaml").write_text(config.resolved(config.load(path)))
    assert config.load(path.parent / "again.yaml").stages["second"].digest == second.digest


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        ("config: stage.yaml, set: {train.epoch: 5}",
         "tiny.yaml:4:37: first.train.epoch: Train has no such parameter; did you mean 'epochs'?"),
        ("config: stage.yaml, set: {train.epochs: soon}",
         "tiny.yaml:4:37: first.train.epochs: expected int, got 'soon'"),
        ("config: stage.yaml, set: {kind.epochs: 5}",
         "tiny.yaml:4:37: set: kind.epochs: 'epochs' has no place here: above it stands the value 'train'"),
        ("config: stage.yaml, set: 5", "tiny.yaml:4:31: set: expected {key.path: value}, got 5"),
        ("config: {kind: train}, set: {train.epochs: 5}",
         "tiny.yaml:4:34: first: 'set' changes a config file; this stage names none: change its keys"),
    ],
)  # fmt: skip
def test_a_mistake_in_what_a_stage_sets_is_told_at_its_place(write, stage, expected):
    path = write(pipeline=PIPELINE.replace("  first: {config: stage.yaml}", f"  first: {{{stage}}}"))
    assert errors(path)[0] == expected


def test_three_mistakes_give_three_lines(write):
    text = CONFIG.replace("temperature: 0.1", "temprature: 0.1").replace("epochs: 2", "epochs: two")
    assert errors(write(text.replace("warmup: 0.1", "warmup: 7"), ONE_STAGE)) == [
        "stage.yaml:7:5: first.method.loss.temprature: Loss has no such parameter; did you mean 'temperature'?",
        "stage.yaml:10:3: first.train.epochs: expected int, got 'two'",
        "stage.yaml:13:26: first.train.schedule.warmup: expected a number from 0.0 to 1.0, got 7",
    ]


def test_a_misspelt_key_that_is_needed_is_told_once(write):
    assert errors(write(CONFIG.replace("epochs: 2", "epoch: 2"), ONE_STAGE)) == [
        "stage.yaml:10:3: first.train.epoch: Train has no such parameter; did you mean 'epochs'?"
    ]


@pytest.mark.parametrize("start", ["", ", start_from: null", ", start_from: ~"])
def test_evaluate_stage_needs_an_earlier_encoder(write, start):
    stage = "kind: evaluate\ndata: {name: fake, root: here}\nevaluator: {name: fake}\n"
    path = write(stage, ONE_STAGE.replace("}", f"{start}}}"))
    assert errors(path) == [
        "tiny.yaml:4:3: first: missing key 'start_from': a stage of kind 'evaluate' needs an earlier encoder"
    ]


def test_evaluate_stage_takes_the_data_of_the_stage_it_starts_from(write):
    both = "name: t\nseed: 1\nstages:\n  a: {config: stage.yaml}\n  b: {config: score.yaml, start_from: a}\n"
    path = write(pipeline=both)
    score = path.parent / "score.yaml"
    score.write_text("kind: evaluate\nevaluator: {name: fake}\n")
    stages = config.load(path, ["a.data.root=there"]).stages
    assert stages["b"].data == stages["a"].data == {"name": "fake", "root": "there", "size": [4, 8], "axis": None}
    (path.parent / "again.yaml").write_text(config.resolved(config.load(path)))
    assert config.load(path.parent / "again.yaml").stages["b"].digest == config.load(path).stages["b"].digest
    score.write_text("kind: evaluate\ndata: {name: fake, root: own}\nevaluator: {name: fake}\n")
    assert config.load(path).stages["b"].data["root"] == "own"


def test_a_mistake_in_data_that_stages_share_is_told_once(write):
    both = "name: t\nseed: 1\nstages:\n  a: {config: stage.yaml}\n  b: {config: score.yaml, start_from: a}\n"
    path = write(pipeline=both)
    score = path.parent / "score.yaml"
    score.write_text("kind: evaluate\nevaluator: {name: fake}\n")
    words = "command line: a.data.rot: Data has no such parameter; did you mean 'root'?"
    assert errors(path, ["a.data.rot=there"]) == [words]
    assert [*config.dry_build(config.load(path))] == []
    with pytest.raises(ConfigError) as caught:
        config.dry_build(config.load(path, ["a.data.size=[0, 8]"]))
    assert str(caught.value) == "command line: a.data.size: expected 1 or more, got 0"
    score.write_text("kind: evaluate\ndata: {name: fake, rot: own}\nevaluator: {name: fake}\n")
    assert len(errors(path, ["a.data.rot=there"])) == 2  # each its own


@pytest.mark.parametrize("data", ["", "data:\n"])
def test_evaluate_stage_without_data_needs_an_earlier_stage(write, data):
    path = write(f"kind: evaluate\n{data}evaluator: {{name: fake}}\n", ONE_STAGE.replace("}", ", start_from: a/b}"))
    assert "stage.yaml:1:1: first: missing key 'data': there is no earlier stage to take them from" in errors(path)


def test_compare_needs_a_foreign_encoder_to_be_there(write):
    stage = CONFIG.replace("kind: train", "kind: compare\nevaluator: {name: fake}\ncompare: COMPARE")
    both = "name: t\nseed: 1\nstages:\n  a: {config: b.yaml}\n  c: {config: stage.yaml, start_from: a}\n"
    path = write(stage.replace("COMPARE", "{num_labelled: [4, all], seeds: [0], foreign: x/y}"), both)
    (path.parent / "b.yaml").write_text(CONFIG)
    (line,) = errors(path)
    assert "c.compare.foreign: expected the folder of an encoder" in line
    assert line.endswith("found none in 'x/y'")


def test_an_encoder_in_the_home_folder_is_found(write, tmp_path, monkeypatch):
    stage = CONFIG.replace(
        "kind: train", "kind: compare\nevaluator: {name: fake}\n"
        "compare: {num_labelled: [4], seeds: [0], foreign: ~/enc}"
    )  # fmt: skip
    path = write(stage, ONE_STAGE.replace("}", ", start_from: ~/enc}"))
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "enc").mkdir()
    (tmp_path / "enc" / "encoder.safetensors").write_bytes(b"weights")
    found = config.load(path).stages["first"]
    assert (found.start_from, found.compare.foreign) == (str(tmp_path / "enc"), str(tmp_path / "enc"))


def test_compare_refuses_empty_lists_and_small_numbers(write):
    stage = CONFIG.replace("kind: train", "kind: compare\nevaluator: {name: fake}\ncompare: COMPARE")
    both = "name: t\nseed: 1\nstages:\n  a: {config: b.yaml}\n  c: {config: stage.yaml, start_from: a}\n"
    for compare, line in [
        ("{num_labelled: [], seeds: [0]}", "c.compare: num_labelled: length: expected 1 or more, got 0"),
        ("{num_labelled: [4, 4], seeds: [0]}", "c.compare: num_labelled: expected different values, got [4, 4]"),
        ("{num_labelled: [1.0], seeds: [0]}", "c.compare.num_labelled: expected a whole number, or a share above 0"),
        ("{num_labelled: [0], seeds: [0]}", "c.compare.num_labelled: expected 1 or more, got 0"),
        ("{num_labelled: 4, seeds: [0]}", "c.compare.num_labelled: expected list[int | float | Literal['all']], got 4"),
    ]:
        path = write(stage.replace("COMPARE", compare), both)
        (path.parent / "b.yaml").write_text(CONFIG)
        found = errors(path)
        assert len(found) == 1
        assert line.split(": ")[-1] in found[0]
        assert "compare.num_labelled" in found[0].replace("compare: num", "compare.num")


def test_stage_config_given_as_pipeline_says_so(write):
    path = write()
    with pytest.raises(ConfigError, match="this is the config of one stage"):
        config.load(path.parent / "stage.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a pipeline with the keys name, seed, stages"),
        ("- 1\n", "expected a pipeline with the keys name, seed, stages"),
        ("name: t\nseed: 1\nstages: {}\n", "expected at least one stage"),
    ],
)
def test_file_without_a_pipeline_is_refused(write, text, message):
    with pytest.raises(ConfigError, match=message):
        config.load(write(pipeline=text))


def test_digest_follows_values_seed_and_earlier_stages(write):
    path = write()
    base = config.load(path).stages
    later = config.load(path, ("second.train.epochs=3",)).stages
    assert later["first"].digest == base["first"].digest
    assert later["second"].digest != base["second"].digest
    earlier = config.load(path, ("first.train.epochs=3",)).stages
    assert earlier["first"].digest != base["first"].digest
    assert earlier["second"].digest != base["second"].digest
    assert config.load(path, ("seed=8",)).stages["first"].digest != base["first"].digest
    assert base["first"].digest != base["second"].digest
