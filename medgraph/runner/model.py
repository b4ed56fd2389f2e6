"""The whole fine-tuned model as it leaves: weights, and everything needed to rebuild it where its data are not."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from medgraph import __version__, config
from medgraph.config.schema import Stage
from medgraph.data.spec import as_stored, spec_from_dict
from medgraph.errors import CheckpointError
from medgraph.runner import checkpoint
from medgraph.runner.committee import Committee

WEIGHTS, FACTS = "model.safetensors", "model.json"


@dataclass(frozen=True)
class Model:
    """A fine-tuned model and what its input must look like.

    Attributes:
        method: In eval mode; `predict(images)` gives its answer, of a graph `predict(views)`.
        data: The data part of its training, not read: `new_case` prepares a file alike.
        spec: Facts of that data, `classes` among them.
        facts: Stage, arm, seed and whatever else the run told.
        path: The folder.
    """

    method: Any
    data: Any
    spec: Any
    facts: dict[str, Any]
    path: Path


def export_model(folder: Path, method: nn.Module, stage: Stage, spec: Any, facts: dict[str, Any]) -> None:
    """Write a fine-tuned method to `folder`; does nothing for one without `predict`, which nobody applies to new cases.

    Args:
        folder: Made if absent.
        method: The trained method, or a committee of such.
        stage: Its stage: how method and data were built.
        spec: The data's facts that it was built with.
        facts: What a reader wants to know; "seed" is needed.
    """
    if not hasattr(method, "predict"):
        return
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint.write_tensors(folder / WEIGHTS, method.state_dict(), {})
    described = {"method": stage.method, "data": stage.data, "spec": asdict(spec), "facts": facts}
    if isinstance(method, Committee):
        described["members"] = len(method.models)
    checkpoint.write_json(folder / FACTS, {"medgraph": __version__, **described})


def load_model(folder: Path) -> Model:
    """Rebuild a fine-tuned model, in eval mode. No file of its data is read.

    Raises:
        CheckpointError: The folder holds no model, or its weights do not fit.
    """
    path = folder / FACTS
    stored = read_stored(folder)
    node, data_node, facts = stored["method"], stored["data"], stored["facts"]
    try:
        spec, seed = spec_from_dict(stored["spec"]), facts["seed"]
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: expected a fine-tuned model as a run writes it ({error!r}).") from error
    method = config.build(node, "methods", spec=spec, seed=seed)
    if "members" in stored:
        others = (config.build(node, "methods", spec=spec, seed=seed) for _ in range(1, stored["members"]))
        method = committee_of([method, *others], spec)
    tensors, _ = checkpoint.read_tensors(folder / WEIGHTS)
    try:
        method.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(f"{folder / WEIGHTS}: does not fit the method of {FACTS}. {error}") from error
    return Model(method.eval(), config.build(data_node, "data", seed=seed), spec, facts, folder)


def committee_of(methods: Sequence[Any], spec: Any) -> Committee:
    """Fine-tuned methods of one stage as one: they answer with a number where the data's `spec` names a target."""
    return Committee(methods, numbers=bool(getattr(spec, "target", "")))


def find_model(run: Path, name: str | None = None) -> tuple[Path, list[str]]:
    """The folder of a run's fine-tuned model, and the names of all models of the run.

    Without a name: the one of the pre-trained arm with most labels and the smallest seed.

    Args:
        run: A run folder, or the folder of a model itself.
        name: Which of several, as `verdict/pretrained-4-seed31`.

    Raises:
        CheckpointError: The run holds no fine-tuned model, or none of that name.
    """
    if (run / FACTS).exists():
        return run, [run.name]
    found = {path.parent.parent.relative_to(run).as_posix(): path.parent for path in run.rglob(f"model/{FACTS}")}
    if not found:
        raise CheckpointError(
            f"{run}: holds no fine-tuned model, expected a run folder with a finished stage that fine-tunes "
            "(segmentation, say). An encoder alone can be applied by `medgraph embed`."
        )
    names = sorted(found, key=lambda key: _rank(found[key]))
    if name is not None and name not in found:
        raise CheckpointError(f"{run}: holds no model called {name!r}. There are: {', '.join(names)}.")
    return found[names[0] if name is None else name], names


def read_stored(folder: Path) -> dict[str, Any]:
    """The JSON beside a model's weights: "method", "data", "spec", "facts". Raises CheckpointError."""
    path = folder / FACTS
    keys = {"method": dict, "data": dict, "spec": dict, "facts": dict}
    advice = "Take the folder from a copy of the run, or train the stage again."
    stored = checkpoint.read_json(path, keys, advice)
    stored["data"] = as_stored(stored["data"])
    members = stored.get("members", 1)
    if type(members) is not int or members < 1:
        raise CheckpointError(f"{path}: members is {members!r}, expected a number of networks. {advice}")
    return stored


def _rank(folder: Path) -> tuple[Any, ...]:
    """Smallest for the model that is taken unasked."""
    stored = read_stored(folder)
    facts, few = stored["facts"], stored["facts"].get("num_labelled")
    most = few is not None, -stored["spec"].get("num_examples", 0), -(few or 0)  # a share says nothing of its number
    return (
        facts.get("arm") not in (None, "pretrained"),
        *most,
        facts.get("seed", 0),
        -stored.get("members", 1),
        folder.as_posix(),
    )
