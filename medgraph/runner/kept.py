"""What a stage that chooses keeps: its best candidate, or what is made of its networks, if that is better."""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from torch import nn

from medgraph import config, files
from medgraph.config.schema import Stage
from medgraph.data.spec import spec_from_dict
from medgraph.runner.encoder_folder import read_facts, weights_file
from medgraph.runner.export import export_encoder, load_encoder
from medgraph.runner.graph_fit import graph_facts

ALONE = "alone"
OTHERWISE = {  # what may be kept in place of the best candidate alone, by its key in the choice
    "all": "all side by side",
    "smoothed": "smoothed",
    "all_smoothed": "all side by side, smoothed",
}


@dataclass(frozen=True)
class Made:
    """An encoder that a stage may keep.

    Attributes:
        encoder: Network or networks.
        node: Its config.
        data: What it sees the graph through, built.
        spec: Facts of the data that it was built with.
        facts: What is told beside it, the data's config among it.
    """

    encoder: nn.Module
    node: dict[str, Any]
    data: Any
    spec: Any
    facts: dict[str, Any]

    def figure(self, evaluator: Any, device: str) -> float:
        """What the evaluator gives it on validation."""
        return evaluator.validate(SimpleNamespace(encoder=self.encoder.eval()), self.data, device=device)

    def smoothed(self, num_neighbors: int) -> "Made":
        """The same with features averaged over neighbors, see `hetero.smoothed`."""
        node = {"name": "smoothed", "encoder": self.node, "num_neighbors": num_neighbors}
        encoder = config.build(node, "encoders", spec=self.spec)
        encoder.encoder.load_state_dict(self.encoder.state_dict())
        return Made(encoder, node, self.data, self.spec, self.facts)


def keep_better(path: Path, stage: Stage, choice: dict[str, Any], seed: int, evaluator: Any, device: str) -> None:
    """Score what the stage may keep in place of the encoder that lies in its folder, and export the best of them.

    Args:
        path: Folder of the stage, with the best candidate, or its members, as the encoder.
        stage: Says what may be made.
        choice: Best candidate and figures so far; takes those found here.
        seed: Of the data.
        evaluator: Scores validation.
        device: Where it does.
    """
    if not (stage.choose.join or stage.choose.smooth):
        return
    together = _side_by_side(path, stage, choice["best"], seed) if stage.choose.join else None
    made = {"all": together} if together else {}
    if stage.choose.smooth:
        made["smoothed"] = _alone(path, seed).smoothed(stage.choose.smooth)
        if together:
            made["all_smoothed"] = together.smoothed(stage.choose.smooth)
    for name, one in made.items():
        choice[name] = one.figure(evaluator, device)
    if kept_of(choice) in made:
        best = made[kept_of(choice)]
        export_encoder(path / "encoder", best.encoder, best.node, best.spec, best.facts)


def _alone(path: Path, seed: int) -> Made:
    """The best candidate, or its members, as the stage has left it."""
    told_of = read_facts(path / "encoder")
    data = config.build(told_of["facts"]["data"], "data", seed=seed)
    spec = spec_from_dict(told_of["spec"])
    return Made(load_encoder(path / "encoder"), told_of["encoder"], data, spec, told_of["facts"])


def _side_by_side(path: Path, stage: Stage, best: str, seed: int) -> Made | None:
    """The networks of all candidates, those of the best first; none where they all came out alike.

    A candidate that came out as another did, since what it changes is not there, is left out.
    """
    others = [path / name for name in stage.candidates if name != best]
    further = [path / f"member-{number}" for number in range(2, stage.candidates[best].train.members + 1)]
    networks = [[path / best, *further], *([folder] for folder in others)]
    seen: set[str] = set()
    for group in list(networks):
        content = files.content_hash(weights_file(group[0] / "encoder"))
        if content in seen:
            networks.remove(group)
        seen.add(content)
    if len(networks) == 1:
        return None
    told_of = [[read_facts(folder / "encoder") for folder in group] for group in networks]
    views = [group[0]["facts"]["data"] for group in told_of]
    data_node = {"name": "joined_views", "data": views, "num_networks": [len(group) for group in networks]}
    node = {"name": "ensemble", "encoders": [each["encoder"] for group in told_of for each in group]}
    data = config.build(data_node, "data", seed=seed)
    ensemble = config.build(node, "encoders", spec=data.spec)
    for own, folder in zip(ensemble.encoders, (folder for group in networks for folder in group), strict=True):
        own.load_state_dict(load_encoder(folder / "encoder").state_dict())
    facts = {**told_of[0][0]["facts"], "stage": stage.name, "data": data_node, **graph_facts(data)}
    return Made(ensemble, node, data, data.spec, facts)


def kept_of(choice: dict[str, Any]) -> str:
    """What is kept: "alone", or one of `OTHERWISE`; the first of equals."""
    figures = {ALONE: choice.get("joined", choice["validation"][choice["best"]])}
    figures |= {name: choice[name] for name in OTHERWISE if name in choice}
    return max(figures, key=lambda name: figures[name])


def told(choice: dict[str, Any]) -> str:
    """The choice in words."""
    best, figures, kept = choice["best"], choice["validation"], kept_of(choice)
    joined = f" (all its members {choice['joined']:.2f})" if "joined" in choice else ""
    others = ", ".join(f"{name} {figure:.2f}" for name, figure in figures.items() if name != best)
    made = [f"{words} {choice[name]:.2f}" for name, words in OTHERWISE.items() if name in choice and name != kept]
    if kept == ALONE:
        return "; ".join([f"{best} is kept, with {figures[best]:.2f} on validation{joined}", others, *made])
    words = f"{best} is kept, smoothed" if kept == "smoothed" else OTHERWISE[kept].replace("all", "all are kept", 1)
    first = f"{words}, with {choice[kept]:.2f} on validation"
    return "; ".join([first, f"{best} {figures[best]:.2f}{joined}, {others}", *made])
