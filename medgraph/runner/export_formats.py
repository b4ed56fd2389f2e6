"""Encoders in other people's formats. Each export is loaded again and compared with the encoder before it counts."""

import importlib.util
import json
import logging
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.export import Dim

from medgraph.errors import CheckpointError, ConfigError
from medgraph.runner import checkpoint
from medgraph.runner.card import CARD, card
from medgraph.runner.embed import find_encoder
from medgraph.runner.encoder_folder import FACTS, HF_FACTS, HF_WEIGHTS, WEIGHTS, read_facts, weights_file
from medgraph.runner.export import load_encoder
from medgraph.runner.monai_bundle import preparation, run_bundle, write_bundle, write_program

TOLERANCE = 1e-5
_FEWEST_SLICES = 9  # of an exported stack: below, attention along slices takes other branches
_NEEDS = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "monai-bundle": ("fire",)}  # format -> packages
_NO_NNUNET = (
    "--format nnunet: not possible. nnU-Net takes pre-trained weights by name and shape, all but its last layers, for "
    "the network that its plan draws up: plain or residual encoder with instance norm and leaky ReLU, a stem of stride "
    "1, and the decoder. None of our encoders has these layers (resnet: batch norm, stem of stride 2), so no tensor "
    "would fit. Fine-tune here (method patch_segmentation), or take pt2 or onnx."
)
_EXTRA = {"onnx": "onnx", "monai-bundle": "bundle"}


def export(run: str | Path, format: str, out: str | Path, *, encoder: str | None = None) -> Path:
    """Write an encoder to `out` in another format, with its model card, and compare it with the encoder.

    Args:
        run: A run folder, or the folder of an encoder.
        format: safetensors (weights and JSON, for `medgraph.load_encoder`), pt2 (torch.export), onnx, monai-bundle, or
            hf (config.json, model.safetensors, card: as Hugging Face's hub shows them, for `medgraph.load_encoder`).
        out: Folder to write to; absent or empty.
        encoder: Which of several encoders of the run: name of its stage.

    Returns:
        The folder written to.

    Raises:
        ConfigError: Unknown format; its packages are not installed; `out` is not empty.
        CheckpointError: No encoder; it cannot be exported; what was written gives other features.
    """
    if format.replace("-", "").lower() == "nnunet":
        raise ConfigError(_NO_NNUNET)
    if format not in WRITERS:
        raise ConfigError(f"--format: expected one of {', '.join(WRITERS)}, got {format!r}.")
    missing = [name for name in _NEEDS.get(format, ()) if importlib.util.find_spec(name) is None]
    if missing:
        command = f"pip install 'medgraph[{_EXTRA[format]}]'"
        raise ConfigError(f"--format {format}: needs {', '.join(missing)}, not installed here. {command}")
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"--out {out}: exists already and is not an empty folder; choose another one.")
    folder = find_encoder(Path(run), encoder)
    model = load_encoder(folder)
    for parameter in model.parameters():  # kernels may be channels-last, which torch.export takes for parts of others
        parameter.data = parameter.data.contiguous()
    if not hasattr(model, "in_channels"):
        raise CheckpointError(f"{folder}: an encoder of graphs cannot be exported; use medgraph.load_encoder.")
    out.mkdir(parents=True, exist_ok=True)
    written = folder / CARD
    text = written.read_text(encoding="utf-8") if written.exists() else card(read_facts(folder), [])
    try:
        for ours, theirs in WRITERS[format](folder, out, model, text):
            _compare(out, ours, theirs)
    except BaseException:
        shutil.rmtree(out)
        raise
    return out


def _compare(out: Path, ours: np.ndarray, theirs: np.ndarray) -> None:
    if ours.shape != theirs.shape:
        raise CheckpointError(f"{out}: the export gives features {theirs.shape}, the encoder {ours.shape}.")
    error = float(np.abs(ours - theirs).max() / max(1.0, float(np.abs(ours).max())))
    if not error <= TOLERANCE:
        raise CheckpointError(f"{out}: the export differs from the encoder by {error:.2g}, more than {TOLERANCE:g}.")


def _examples(model: Any, folder: Path, batch_sizes: tuple[int, ...]) -> list[torch.Tensor]:
    """Inputs of several batch sizes, and of several numbers of slices where the encoder looks across them."""
    spec = read_facts(folder)["spec"]
    rng = torch.Generator().manual_seed(0)
    shapes = [(size, spec["channels"], *spec["size"]) for size in batch_sizes]
    if getattr(model, "takes_stacks", False):
        shapes = [(shape[0], _FEWEST_SLICES + shape[0], *shape[1:]) for shape in shapes]
    return [torch.rand(shape, generator=rng) for shape in shapes]


def _features(model: Any, images: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        return model(images).numpy()


def _program(model: Any, folder: Path, any_size: bool = False) -> Any:
    """The encoder by torch.export, for any batch, and any number of slices from 9 on. Raises CheckpointError.

    With `any_size` for one image, or volume, of any size above the coarsest stride.
    """
    (example,) = _examples(model, folder, (2,))
    dynamic: dict[int, Any] = {0: Dim("batch")}
    if getattr(model, "takes_stacks", False):
        dynamic = {0: Dim.DYNAMIC, 1: Dim.DYNAMIC}  # a named number of slices cannot be halved, as pooling them does
    elif any_size:
        if any(getattr(module, "exports_one_size", False) for module in model.modules()):
            raise CheckpointError(
                f"{folder}: was trained on patches of volumes of any size, but the windows of swin are exported for "
                "one size. Take pt2 or onnx, which are for the size of a patch, or safetensors or hf."
            )
        # sizes that differ, and maps of more than one voxel, or they are taken for fixed
        sides = [2 * max(model.pyramid_strides) + 2 * n for n in range(4, 4 + model.spatial_dims)]
        example = torch.rand(1, model.in_channels, *sides, generator=torch.Generator().manual_seed(0))
        dynamic = {2 + axis: Dim.DYNAMIC for axis in range(model.spatial_dims)}
    try:
        with torch.no_grad():
            return torch.export.export(
                model, (example,), dynamic_shapes=[dynamic], prefer_deferred_runtime_asserts_over_guards=True
            )
    except Exception as error:  # whatever in the encoder torch.export cannot follow
        raise CheckpointError(f"{folder}: torch.export cannot follow this encoder: {str(error)[:500]}") from error


Pairs = list[tuple[np.ndarray, np.ndarray]]


def _safetensors(folder: Path, out: Path, model: Any, text: str) -> Pairs:
    shutil.copyfile(weights_file(folder), out / WEIGHTS)
    checkpoint.write_json(out / FACTS, read_facts(folder))
    (out / CARD).write_text(text, encoding="utf-8")
    again = load_encoder(out)
    return [(_features(model, x), _features(again, x)) for x in _examples(model, folder, (1, 3))]


def _pt2(folder: Path, out: Path, model: Any, text: str) -> Pairs:
    write_program(out / "encoder.pt2", _program(model, folder))
    (out / CARD).write_text(text, encoding="utf-8")
    again = torch.export.load(out / "encoder.pt2").module()
    return [(_features(model, x), _features(again, x)) for x in _examples(model, folder, (1, 3))]


def _onnx(folder: Path, out: Path, model: Any, text: str) -> Pairs:
    import onnxruntime

    (example,) = _examples(model, folder, (2,))
    program = _program(model, folder)
    with _quiet():
        torch.onnx.export(program, (example,), out / "encoder.onnx", dynamo=True, external_data=False, verbose=False)
    (out / CARD).write_text(text, encoding="utf-8")
    session = onnxruntime.InferenceSession(out / "encoder.onnx", providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return [(_features(model, x), session.run(None, {name: x.numpy()})[0]) for x in _examples(model, folder, (1, 3))]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter warns of: itself, and packages that are not needed here."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _monai_bundle(folder: Path, out: Path, model: Any, text: str) -> Pairs:
    settings = preparation(model)
    write_bundle(out, _program(model, folder, any_size=settings["size"] is None), model, settings, text)
    with tempfile.TemporaryDirectory() as scratch:
        theirs, ours = run_bundle(out, model, settings, Path(scratch))
    return [(ours, theirs)]


def _hf(folder: Path, out: Path, model: Any, text: str) -> Pairs:
    facts = read_facts(folder)
    config = {"model_type": "medgraph", "architectures": [type(model).__name__], "torch_dtype": "float32", **facts}
    (out / HF_FACTS).write_text(json.dumps(config, indent=2) + "\n")
    tensors, _ = checkpoint.read_tensors(weights_file(folder))
    checkpoint.write_tensors(out / HF_WEIGHTS, tensors, {"format": "pt"})
    (out / "preprocessor_config.json").write_text(json.dumps({"data": facts["facts"].get("data")}, indent=2) + "\n")
    (out / CARD).write_text(text, encoding="utf-8")
    again = load_encoder(out)
    return [(_features(model, x), _features(again, x)) for x in _examples(model, folder, (1, 3))]


WRITERS: dict[str, Callable[[Path, Path, Any, str], Pairs]] = {
    "safetensors": _safetensors,
    "pt2": _pt2,
    "onnx": _onnx,
    "monai-bundle": _monai_bundle,
    "hf": _hf,
}
