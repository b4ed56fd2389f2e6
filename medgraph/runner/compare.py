"""The verdict: the same fine-tuning from the pre-trained encoder, from scratch and, at will, from a foreign encoder."""

import shutil
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

from rich.console import Console

from medgraph import config, files, processes
from medgraph.config.schema import Pipeline, Stage
from medgraph.data.fingerprint import fingerprint
from medgraph.data.label_counts import labelled_words
from medgraph.data.licence import licences
from medgraph.data.spec import settled
from medgraph.evaluation.paired import paired_rows
from medgraph.evaluation.scores import Scores
from medgraph.runner import checkpoint, pseudo_labels
from medgraph.runner.begun import keep_to_cases
from medgraph.runner.encoder_folder import read_facts
from medgraph.runner.evaluate import evaluate
from medgraph.runner.export import export_encoder
from medgraph.runner.fitting import trained
from medgraph.runner.folder import RunFolder
from medgraph.runner.graph_fit import graph_facts
from medgraph.runner.model import export_model

PRETRAINED, FOREIGN, SCRATCH = "pretrained", "foreign", "from scratch"


def arms_of(stage: Stage) -> tuple[str, ...]:
    """The arms of a compare stage; of each pair the first is judged against the second."""
    return (PRETRAINED, SCRATCH) if stage.compare.foreign is None else (PRETRAINED, FOREIGN, SCRATCH)


def compare_stage(stage: Stage, pipeline: Pipeline, folder: RunFolder, device: str, console: Console) -> None:
    """Fine-tune all arms for each number of labelled volumes and each seed; write every score and the table.

    All arms share data, seeds, order of batches, augmentation and length; only the encoder's first weights differ, and
    the encoder itself where a foreign one is of another architecture. An arm that is finished is not run again.
    """
    path = folder.stage(stage.name)
    for num_labelled in stage.compare.num_labelled:
        for seed in stage.compare.seeds:
            for arm in arms_of(stage):
                _run_arm(stage, pipeline, folder, arm, num_labelled, pipeline.seed + seed, device, console)
                processes.wait()
    if processes.is_main():
        checkpoint.write_json(path / "table.json", table(stage, path, pipeline.seed))


def arm_folder(path: Path, arm: str, num_labelled: int | float | str, seed: int) -> Path:
    """Where one fine-tuning of a compare stage lies: `pretrained-4-seed31`, or `pretrained-0.1-seed31` for a tenth."""
    return path / f"{arm.replace(' ', '-')}-{num_labelled}-seed{seed}"


def table(stage: Stage, path: Path, pipeline_seed: int) -> list[dict[str, Any]]:
    """One row per number of labels, pair of `arms`, class label and metric, see `evaluation.paired`."""
    rows = []
    for num_labelled in stage.compare.num_labelled:
        found = {arm: _scores(stage, path, arm, num_labelled, pipeline_seed) for arm in arms_of(stage)}
        for first, second in combinations(found, 2):
            facts = {"stage": stage.name, "num_labelled": num_labelled, "arms": [first, second]}
            rows += [facts | row for row in paired_rows(found[first], found[second])]
    return rows


def read_table(path: Path) -> list[dict[str, Any]]:
    """The rows that a compare stage wrote. Raises CheckpointError."""
    keys = {"label": str, "metric": str, "arms": list, "difference": dict, "over": str}
    advice = "Remove it and done.json beside it, and go on with the run by --resume."
    return checkpoint.read_json(path, keys, advice, is_list=True)


def earlier_twin(
    stage: Stage, pipeline: Pipeline, folder: RunFolder, num_labelled: int | float | str, seed: int
) -> Path | None:
    """The finished from-scratch arm of an earlier stage that differs from this one in its start alone; None without."""
    for other in pipeline.stages.values():
        if other.name == stage.name:
            break
        path = arm_folder(folder.stage(other.name), SCRATCH, num_labelled, seed)
        same = all(getattr(other, k) == getattr(stage, k) for k in ("kind", "data", "method", "train", "evaluator"))
        if same and (path / "scores.json").exists():
            return path
    return None


def _run_arm(
    stage: Stage,
    pipeline: Pipeline,
    folder: RunFolder,
    arm: str,
    num_labelled: int | float | str,
    seed: int,
    device: str,
    console: Console,
) -> None:
    path = arm_folder(folder.stage(stage.name), arm, num_labelled, seed)
    title = f"{arm}, {labelled_words(num_labelled)} labelled, seed {seed}"
    if processes.from_main((path / "scores.json").exists()):
        console.print(f"  {title}: finished before, skipped")
        return
    twin = processes.from_main(earlier_twin(stage, pipeline, folder, num_labelled, seed)) if arm == SCRATCH else None
    if twin is not None:
        console.print(f"  {title}: the same as in stage {twin.parent.name}, taken from there")
        if processes.is_main():
            _copy_arm(twin, path)
        return
    console.print(f"  {title}")
    start = folder.encoder(stage.start_from) if arm == PRETRAINED else None
    if arm == FOREIGN:
        start = Path(stage.compare.foreign)
        stage = replace(stage, method={**stage.method, "encoder": read_facts(start)["encoder"]})
    count = None if num_labelled == "all" else num_labelled
    data = config.build({**stage.data, "num_labelled": count}, "data", seed=seed)
    keep_to_cases(path.parent, data)
    method = trained(stage, data, seed, start, path, device, title, console)
    if not processes.is_main():
        return
    stage = replace(stage, data=settled(data, stage.data))
    facts: dict[str, Any] = {
        "stage": stage.name,
        "arm": arm,
        "num_labelled": count,
        "seed": seed,
        "pipeline": pipeline.name,
    }
    facts |= {"method": stage.method, "data": stage.data, "fingerprint": fingerprint(data)}
    facts |= {"licences": licences(data), **graph_facts(data), **pseudo_labels.told(path)}
    export_encoder(path / "encoder", method.encoder, stage.method["encoder"], data.spec, facts)
    export_model(path / "model", method, stage, data.spec, facts)
    evaluate(stage.evaluator, method, data, path / "scores.json", device)


def _copy_arm(twin: Path, path: Path) -> None:
    """A finished arm once more, its scores last: where they are, all is."""
    shutil.copytree(twin, path, ignore=shutil.ignore_patterns("scores.json"), dirs_exist_ok=True)
    with files.whole(path / "scores.json") as temporary:
        shutil.copy2(twin / "scores.json", temporary)


def _scores(stage: Stage, path: Path, arm: str, num_labelled: int | float | str, pipeline_seed: int) -> list[Scores]:
    """What one arm scored, by seed."""
    seeds = [pipeline_seed + seed for seed in stage.compare.seeds]
    return [Scores.from_json(arm_folder(path, arm, num_labelled, seed) / "scores.json") for seed in seeds]
