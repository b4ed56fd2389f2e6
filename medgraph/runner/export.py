"""The encoder as it leaves: weights as safetensors, everything needed to rebuild it as JSON beside them."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from medgraph import __version__, config
from medgraph.data.spec import spec_from_dict
from medgraph.errors import CheckpointError
from medgraph.runner import checkpoint
from medgraph.runner.encoder_folder import FACTS, WEIGHTS, read_facts, weights_file
from medgraph.runner.handover import fits_summed, renamed
from medgraph.runner.preprocess import Preprocess
from medgraph.runner.seed import seed_all


def export_encoder(folder: Path, encoder: nn.Module, node: dict[str, Any], spec: Any, facts: dict[str, Any]) -> None:
    """Write an encoder to `folder`, reload it and compare all tensors before returning. Raises CheckpointError.

    Args:
        folder: Made if absent.
        encoder: The trained encoder.
        node: Its resolved config: name and every argument.
        spec: The data's facts that it was built with.
        facts: What a reader wants to know: method, stage, seed, preparation of its input.
    """
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint.write_tensors(folder / WEIGHTS, encoder.state_dict(), {})
    checkpoint.write_json(
        folder / FACTS, {"medgraph": __version__, "encoder": node, "spec": asdict(spec), "facts": facts}
    )
    reloaded = load_encoder(folder).state_dict()
    for name, value in encoder.state_dict().items():
        if not torch.equal(value.cpu(), reloaded[name]):
            raise CheckpointError(f"{folder / WEIGHTS}: {name} differs from the trained encoder after reloading.")


def load_encoder(folder: str | Path) -> nn.Module:
    """Rebuild an exported encoder, in eval mode. `encoder(x)` gives (n, out_dim); of images, `encoder.pyramid(x)` maps.

    `encoder.preprocess(path)` makes x of a file, see `runner.preprocess`.

    Raises:
        CheckpointError: The folder holds no encoder, or its weights do not fit.
    """
    folder = Path(folder)
    facts = read_facts(folder)
    encoder = config.build(facts["encoder"], "encoders", spec=spec_from_dict(facts["spec"]))
    tensors, _ = checkpoint.read_tensors(weights_file(folder))
    try:
        encoder.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(f"{weights_file(folder)}: does not fit the encoder of {FACTS}. {error}") from error
    told = facts["facts"]
    stacked = getattr(encoder, "takes_stacks", False)
    encoder.preprocess = Preprocess(told.get("data"), told.get("seed", 0), stacked, folder)
    return encoder.eval()


def untrained(folder: str | Path, seed: int) -> nn.Module:
    """The network of an exported encoder as it is before any training, drawn from `seed`, in eval mode."""
    facts = read_facts(Path(folder))
    seed_all(seed, "build")
    return config.build(facts["encoder"], "encoders", spec=spec_from_dict(facts["spec"])).eval()


def transfer(folder: Path, encoder: nn.Module) -> dict[str, list[str]]:
    """Copy the exported encoder in `folder` into `encoder`, by name; a stem for color enters one for gray summed.

    Returns:
        Names of tensors: `taken`, `left behind` (only in the file), `freshly initialised` (only in the model).

    Raises:
        CheckpointError: Nothing matches, or a shape disagrees.
    """
    stored, _ = checkpoint.read_tensors(weights_file(folder))
    own = encoder.state_dict()
    names = renamed(stored, own)
    tensors = {names[name]: value for name, value in stored.items()}
    taken = sorted(tensors.keys() & own.keys())
    for name in taken:
        if fits_summed(tensors[name].shape, own[name].shape):  # gray is three equal channels
            tensors[name] = tensors[name].sum(dim=1, keepdim=True)
    if not taken:
        raise CheckpointError(
            f"{folder}: none of its {len(tensors)} tensors is called like one of the encoder's {len(own)}: "
            "another architecture? Give both stages the same encoder."
        )
    wrong = [
        f"{n}: {tuple(tensors[n].shape)} against {tuple(own[n].shape)}"
        for n in taken
        if tensors[n].shape != own[n].shape
    ]
    if wrong:
        raise CheckpointError(
            f"{folder}: shapes disagree (file against model): {'; '.join(wrong[:5])}. "
            "Give both stages the same encoder."
        )
    encoder.load_state_dict({**own, **{name: tensors[name] for name in taken}})
    return {
        "taken": taken,
        "left behind": sorted(tensors.keys() - own.keys()),
        "freshly initialised": sorted(own.keys() - tensors.keys()),
    }
