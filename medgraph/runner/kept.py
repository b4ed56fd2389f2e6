"""What a stage that chooses keeps: its best candidate, or what is made of its networks, if that is better."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from medgraph import config, files
from medgraph.config.schema import Smooth, Stage
from medgraph.data.spec import spec_from_dict
from medgraph.runner.encoder_folder import read_facts, weights_file
from medgraph.runner.export import export_encoder, load_encoder
from medgraph.runner.graph_fit import graph_facts

ALONE = "alone"
ALL = "all side by side"


@dataclass(frozen=True)
class Made:
    """An encoder that a stage may keep.

    Attributes:
        encoder: Network or networks, a module.
        node: Its config.
        data: What it sees the graph through, built.
        spec: Facts of the data that it was built with.
        facts: What is told beside it, the data's config among it.
    """

    encoder: Any
    node: dict[str, Any]
    data: Any
    spec: Any
    facts: dict[str, Any]

    @torch.no_grad()
    def features(self, device: str) -> Tensor:
        """Of all targets (n, out_dim)."""
        return self.encoder.eval().to(device)(self.data.train().views.to(device))

    def smoothed(self, way: Smooth) -> "Made":
        """The same with features averaged over neighbors, see `hetero.smoothed`."""
        node = {"name": "smoothed", "encoder": self.node, **asdict(way)}
        encoder = config.build(node, "encoders", spec=self.spec)
        encoder.encoder.load_state_dict(self.encoder.state_dict())
        return Made(encoder, node, self.data, self.spec, self.facts)


def keep_better(path: Path, stage: Stage, choice: dict[str, Any], seed: int, evaluator: Any, device: str) -> None:
    """Score what the stage may keep in place of the encoder that lies in its folder, and export the best of them.

    Args:
        path: Folder of the stage, with the best candidate, or its members, as the encoder.
        stage: Says what may be made.
        choice: Best candidate and figures so far; takes those found here, as "made".
        seed: Of the data.
        evaluator: Scores validation.
        device: Where it does.
    """
    if not (stage.choose.join or stage.choose.smooth):
        return
    together = _side_by_side(path, stage, choice["best"], seed) if stage.choose.join else None
    choice["made"] = {}
    best = None
    for name, made, features in _all_made(path, stage, seed, together, device):
        seen = SimpleNamespace(encoder=_Given(features))
        choice["made"][name] = evaluator.validate(seen, made.data, device=device)
        best = made if kept_of(choice) == name else best
    if best is not None:
        export_encoder(path / "encoder", best.encoder, best.node, best.spec, best.facts)


def _all_made(
    path: Path, stage: Stage, seed: int, together: Made | None, device: str
) -> Iterator[tuple[str, Made, Tensor]]:
    """Name, encoder and features of each that may be kept; every network passes over the graph once."""
    ways = stage.choose.smooth or {}
    bases = [("", _alone(path, seed))] if ways else []
    bases += [(ALL, together)] if together is not None else []
    for base, made in bases:
        features = made.features(device)
        if base:
            yield base, made, features
        neighbors: dict[int, Tensor] = {}
        for name, way in ways.items():
            smoothed = made.smoothed(way)
            if way.num_neighbors not in neighbors:
                neighbors[way.num_neighbors] = smoothed.encoder.neighbors(features)
            given = smoothed.encoder.smooth(features, neighbors[way.num_neighbors])
            yield ", ".join(filter(None, (base, f"smoothed {name}"))), smoothed, given


class _Given(nn.Module):
    """Features that were computed before, whatever it is shown."""

    def __init__(self, features: Tensor):
        super().__init__()
        self.features = features

    def forward(self, views: Any) -> Tensor:
        """The features (n, d)."""
        return self.features


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
    """What is kept: `ALONE`, or one of what was made of the networks; the first of equals."""
    figures = {ALONE: choice.get("joined", choice["validation"][choice["best"]])} | choice.get("made", {})
    return max(figures, key=lambda name: figures[name])


def told(choice: dict[str, Any]) -> str:
    """The choice in words."""
    best, figures, kept = choice["best"], choice["validation"], kept_of(choice)
    joined = f" (all its members {choice['joined']:.2f})" if "joined" in choice else ""
    others = ", ".join(f"{name} {figure:.2f}" for name, figure in figures.items() if name != best)
    made = [f"{name} {figure:.2f}" for name, figure in choice.get("made", {}).items() if name != kept]
    if kept == ALONE:
        return "; ".join([f"{best} is kept, with {figures[best]:.2f} on validation{joined}", others, *made])
    words = f"all are kept{kept.removeprefix('all')}" if kept.startswith(ALL) else f"{best} is kept, {kept}"
    first = f"{words}, with {choice['made'][kept]:.2f} on validation"
    return "; ".join([first, f"{best} {figures[best]:.2f}{joined}, {others}", *made])
