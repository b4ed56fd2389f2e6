"""Encoders from elsewhere become ours: ResNets of MONAI (MedicalNet), torchvision and timm, and SwinUNETR's Swin."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medgraph import config
from medgraph.data import torch_files
from medgraph.data.spec import ImageSpec
from medgraph.errors import CheckpointError, ConfigError
from medgraph.runner import checkpoint
from medgraph.runner.card import CARD, card
from medgraph.runner.encoder_folder import FACTS, read_facts
from medgraph.runner.export import export_encoder
from medgraph.runner.handover import fits_summed

_WRAPPERS = ("state_dict", "model", "model_state_dict", "network_weights", "net")
_PREFIXES = ("module.", "model.", "encoder.", "backbone.", "network.", "resnet.", "swinViT.")
_RENAMED = ((".mlp.fc1.", ".mlp.linear1."), (".mlp.fc2.", ".mlp.linear2."))  # self-supervised Swin, as MONAI loads it
_HEADS = ("fc.", "head.", "classifier.", "conv_seg.")  # of another task: never taken
_SWIN = "patch_embed."  # a file with such a tensor holds a Swin, and may hold the decoder of SwinUNETR and VoCo's heads
_SWIN_HEADS = ("encoder", "decoder", "out.", "norm.", "mask_token", "rotation_", "contrastive_", "convTrans")
_COUNTERS = "num_batches_tracked"  # of no effect on features; older files lack it
_SHORTCUT = ".downsample."
_BIAS = "downsample.0.bias"  # MONAI has it by default; torchvision, timm and MedicalNet do not, which is a bias of zero
_NO_WEIGHTS = (
    "The shortcuts of the file have no weights (shortcut type A, as MedicalNet's with 18 and 34 layers): take the "
    "encoder resnet_padded, `--encoder resnet_padded`.\n  "
)
_CONVOLVED = (
    "The shortcuts of the file are convolutions (shortcut type B): take the encoder resnet, `--encoder resnet`.\n  "
)


def adopt(weights: str | Path, node: dict[str, Any], spec: ImageSpec, out: str | Path) -> dict[str, list[str]]:
    """Write an encoder folder that holds foreign weights and a card, for `start_from: path/of/the/folder` and all else.

    Every tensor of the encoder must be found, or nothing is written. A stem for three channels enters one for a single
    channel with its channels summed, which is the same as three equal channels. The convolution on a shortcut may lack
    its bias, which is then zero.

    Args:
        weights: A safetensors file, or one of `torch.save` that holds tensors and plain values alone.
        node: Config of the encoder: name and every argument.
        spec: Channels, size, 2D or 3D of the images it shall take.
        out: Folder to write to; it must not hold an encoder.

    Returns:
        A line for each tensor: `taken`, `summed`, `zero`, `left behind`.

    Raises:
        CheckpointError: No weights; a tensor of the encoder is not in the file, or has another shape there.
    """
    weights, out = Path(weights), Path(out)
    if (out / FACTS).exists():
        raise ConfigError(f"--out {out}: holds an encoder already; choose another folder.")
    encoder = config.build(node, "encoders", spec=spec)
    own = encoder.state_dict()
    tensors, report = match(read_weights(weights), own, str(weights))
    encoder.load_state_dict({**own, **tensors})
    facts = {"stage": f"adopted from {weights.name}", "pipeline": "elsewhere", "data": None, "report": report}
    export_encoder(out, encoder.eval(), node, spec, facts)
    (out / CARD).write_text(card(read_facts(out), []), encoding="utf-8")
    return report


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name; wrappings like `state_dict` are taken off. Raises CheckpointError."""
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file, expected weights (.safetensors, .pt, .pth).")
    if path.suffix == ".safetensors":
        return checkpoint.read_tensors(path)[0]
    found = torch_files.load(
        path,
        expected="weights (.safetensors, .pt, .pth)",
        advice="Save its state_dict alone, best as safetensors.",
        error=CheckpointError,
    )
    tensors = _named_tensors(found)
    if not tensors:
        raise CheckpointError(f"{path}: holds no tensors by name, expected a state_dict.")
    return tensors


def match(
    given: Mapping[str, Tensor], own: Mapping[str, Tensor], path: str
) -> tuple[dict[str, Tensor], dict[str, list[str]]]:
    """Tensors for the encoder's own names, and a line for each tensor of the file.

    Raises:
        CheckpointError: A tensor of the encoder is not in the file, or has another shape there.
    """
    by_core: dict[str, str] = {}
    for name in given:
        core = _core(name)
        if core in by_core:
            raise CheckpointError(f"{path}: {name} and {by_core[core]} are both {core!r} without prefix. Rename one.")
        by_core[core] = name
    tensors: dict[str, Tensor] = {}
    report: dict[str, list[str]] = {"taken": [], "summed": [], "zero": [], "left behind": []}
    missing, wrong = [], []
    for name, mine in own.items():
        theirs = by_core.pop(_core(name), None)
        if theirs is None and name.endswith(_BIAS) and name.replace("bias", "weight") in tensors:
            tensors[name] = torch.zeros_like(mine)
            report["zero"].append(f"{name} {tuple(mine.shape)}, as the file has no such bias")
            continue
        if theirs is None:
            missing += [] if name.endswith(_COUNTERS) else [name]
            continue
        value, how = given[theirs], "taken"
        if fits_summed(value.shape, mine.shape):
            value, how = value.sum(dim=1, keepdim=True), "summed"
        if value.shape != mine.shape:
            wrong.append(f"{name}: {tuple(given[theirs].shape)} in the file, {tuple(mine.shape)} here")
        tensors[name] = value
        report[how].append(f"{name} {tuple(value.shape)} from {theirs}")
    report["left behind"] = [f"{name} {tuple(given[name].shape)}" for name in by_core.values()]
    heads = _HEADS + (_SWIN_HEADS if any(name.startswith(_SWIN) for name in map(_core, given)) else ())
    unknown = [n for n in by_core.values() if not _core(n).startswith(heads)]
    _refuse(missing, wrong, unknown, path, _shortcuts(given, own))
    return tensors, report


def _shortcuts(given: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    """What to say where one residual network convolves on its shortcuts and the other does not; nothing if alike."""
    there, here = (any(_SHORTCUT in name for name in names) for names in (given, own))
    if there == here or not all(any("layer2." in name for name in names) for names in (given, own)):
        return ""
    return _CONVOLVED if there else _NO_WEIGHTS


def _refuse(missing: list[str], wrong: list[str], unknown: list[str], path: str, hint: str) -> None:
    """Raise CheckpointError with every tensor that does not fit; nothing if all do."""
    lines = [f"not in the file: {name}" for name in missing] + [f"another shape: {line}" for line in wrong]
    lines += [f"of no place here: {name}" for name in unknown]
    if lines:
        rest = f"\n  and {len(lines) - 20} more" if len(lines) > 20 else ""
        raise CheckpointError(
            f"{path}: {len(lines)} tensors do not fit this encoder. Its depth, width, stem and dimensions must be "
            f"those of the file.\n  {hint}" + "\n  ".join(lines[:20]) + rest
        )


def _core(name: str) -> str:
    """A tensor's name without the wrappings of its training."""
    while (prefix := next((p for p in _PREFIXES if name.startswith(p)), None)) is not None:
        name = name.removeprefix(prefix)
    for theirs, ours in _RENAMED:
        name = name.replace(theirs, ours)
    return name


def _named_tensors(found: Any) -> dict[str, Tensor]:
    """The tensors of what a checkpoint holds, wrappings taken off."""
    for _ in _WRAPPERS:  # no deeper, as what holds itself has no end
        if isinstance(found, Mapping):
            inner = (found[key] for key in _WRAPPERS if isinstance(found.get(key), Mapping) and found[key])
            found = next(inner, found)
    pairs = found.items() if isinstance(found, Mapping) else ()
    return {name: value for name, value in pairs if isinstance(name, str) and isinstance(value, Tensor)}
