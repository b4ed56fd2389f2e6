"""One training of one stage: build, take over an earlier encoder, train, export."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from medgraph import config, processes
from medgraph.config.schema import Pipeline, Stage
from medgraph.data.fingerprint import fingerprint
from medgraph.data.licence import licences
from medgraph.data.spec import settled
from medgraph.errors import CheckpointError
from medgraph.method import Method
from medgraph.runner import pseudo_labels
from medgraph.runner.encoder_folder import read_facts
from medgraph.runner.export import export_encoder, transfer
from medgraph.runner.graph_fit import graph_facts
from medgraph.runner.model import export_model
from medgraph.runner.seed import seed_all
from medgraph.runner.sees import warn_if_laid_otherwise
from medgraph.runner.train import pick_device, train

_ILLUSTRATED = 4  # training examples that a method may draw


def train_into(
    path: Path,
    stage: Stage,
    data: Any,
    start: Path | None,
    pipeline: Pipeline,
    seed: int,
    device: str,
    console: Console,
) -> Method:
    """The method of a stage, `trained` in the folder `path`; the main process exports its encoder and model there."""
    method = trained(stage, data, seed, start, path, device, stage.name, console)
    if not processes.is_main():
        return method
    stage = replace(stage, data=settled(data, stage.data))
    facts = {
        "stage": stage.name,
        "pipeline": pipeline.name,
        "method": stage.method,
        "data": stage.data,
        "seed": pipeline.seed,
        "fingerprint": fingerprint(data),
        "licences": licences(data),
        **graph_facts(data),
        **pseudo_labels.told(path),
        **({"member": data.member} if getattr(data, "member", 0) else {}),
    }
    export_encoder(path / "encoder", method.encoder, stage.method["encoder"], data.spec, facts)
    export_model(path / "model", method, stage, data.spec, facts)
    return method


def trained(
    stage: Stage, data: Any, seed: int, start: Path | None, path: Path, device: str, title: str, console: Console
) -> Method:
    """Build and train the method of a stage in the folder `path`.

    Under `train.self_training` (Lee, 2013; Xie et al., 2020, arXiv:1911.04252) one is trained in `path/round-1` first,
    on the labelled volumes alone. It labels the others, and the next one is trained anew, from the same start and seed,
    on all of them. A round that is finished is not trained again; what it labelled lies in its folder.

    Args:
        stage: What is trained, and by what plan.
        data: The stage's data.
        seed: Of first weights, order and views.
        start: Encoder folder to start from, if any.
        path: Folder of the training.
        device: As of a run.
        title: What is trained, in words.
        console: Where progress is told.

    Raises:
        CheckpointError: `start` does not fit, or what a finished round labelled is damaged.
    """
    rounds, seen = stage.train.self_training, data
    if rounds and not data.unlabelled_cases():
        console.print(f"  {title}: no training volume is without label, so there is no self-training")
        rounds = 0
    for number in range(1, rounds + 1):
        folder = path / f"round-{number}"
        if not processes.from_main(pseudo_labels.are_written(folder / "labels")):
            method = build_method(stage, seen, seed, start, console)
            fit(stage, method, seen, seed, folder, device, f"{title}, round {number}", console)
            if processes.is_main():
                pseudo_labels.write(method, data, folder / "labels", device, console)
            processes.wait()
        labels = pseudo_labels.read(folder / "labels", data)
        console.print(f"  {title}: {len(labels)} training volumes are labelled by the network of round {number}")
        seen = data.with_labels(labels)
    method = build_method(stage, seen, seed, start, console)
    fit(stage, method, seen, seed, path, device, title, console)
    return method


def build_method(stage: Stage, data: Any, seed: int, start: Path | None, console: Console) -> Method:
    """The method of a stage, seeded; its encoder filled from the exported one in `start`."""
    seed_all(seed, "build")
    method = config.build(stage.method, "methods", spec=data.spec, seed=seed)
    if start is not None:
        if not start.exists():
            raise CheckpointError(f"{start}: no such folder, so stage {stage.name} has nothing to start from.")
        warn_if_laid_otherwise(start, read_facts(start)["facts"].get("data"), stage.data)
        for words, names in transfer(start, method.encoder).items():
            console.print(f"  {words}: {len(names)} tensors{_sample(names)}")
    return method


def fit(
    stage: Stage, method: Method, data: Any, seed: int, path: Path, device: str, title: str, console: Console
) -> None:
    """Train `method` on the training part of `data` by the stage's plan; say what came from the cache of volumes."""
    plan = stage.train
    if stage.evaluator is not None and hasattr(data, "check_test"):
        data.check_test()  # a class that the model does not have is told now, not after hours
    dataset = data.train()
    if hasattr(data, "cache"):
        console.print(f"  {_cache_line(data.cache.report())}")
    optimizer = config.build(plan.optimizer, "optimizers")
    schedule = config.build(plan.schedule, "schedules")
    train(
        method,
        dataset,
        plan,
        optimizer=optimizer,
        schedule=schedule,
        seed=seed,
        folder=path,
        device=device,
        title=title,
    )
    if type(method).illustrate is not Method.illustrate and processes.is_main():
        method.illustrate(path, dataset.__getitems__(range(min(_ILLUSTRATED, len(dataset)))).to(pick_device(device)))


def _cache_line(report: Any) -> str:
    """What a cache did, in words."""
    held = f"{report.bytes / 2**20:.0f} MiB in {report.folder}"
    return f"volumes: {report.hits} taken from the cache, {report.misses} prepared anew; the cache holds {held}"


def _sample(names: list[str]) -> str:
    return f" ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})" if names else ""
