"""An encoder as a MONAI bundle: `python -m monai.bundle run` takes a volume file to features, without medgraph."""

import io
import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medgraph import __version__
from medgraph.data import formats
from medgraph.errors import CheckpointError

SCRIPT = Path(__file__).with_name("bundle_script.py")
_CONFIG = "configs/inference.json"
_TILTED = np.array([[-0.9, -0.3, 0, 40], [-0.3, 0.9, 0, 5], [0, 0, 1.5, -30], [0, 0, 0, 1]])


def write_bundle(out: Path, program: Any, encoder: Any, settings: dict[str, Any], card: str) -> None:
    """Write the bundle. Its network is the exported program, so that it needs no code of ours.

    Args:
        out: Folder.
        program: The encoder by torch.export.
        encoder: The encoder, for the facts.
        settings: From `preparation`.
        card: Its model card.
    """
    for folder in ("configs", "models", "scripts", "docs"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    write_program(out / "models" / "model.pt2", program)
    (out / "scripts" / "__init__.py").write_text("")
    (out / "scripts" / "prepare.py").write_text(SCRIPT.read_text(encoding="utf-8"), encoding="utf-8")
    (out / "docs" / "README.md").write_text(card, encoding="utf-8")
    (out / "configs" / "metadata.json").write_text(json.dumps(_metadata(encoder), indent=2) + "\n")
    (out / _CONFIG).write_text(json.dumps(_inference(settings), indent=2) + "\n")


def write_program(path: Path, program: Any) -> None:
    """Write a program of torch.export. In memory first: torch's own writer ends the process where a disk is full."""
    whole = io.BytesIO()
    torch.export.save(program, whole)
    path.write_bytes(whole.getbuffer())


def run_bundle(out: Path, encoder: Any, settings: dict[str, Any], scratch: Path) -> tuple[np.ndarray, np.ndarray]:
    """Run the bundle as a user would, on a tilted NIfTI file.

    Returns:
        Its features, and those of the encoder.

    Raises:
        CheckpointError: It does not run.
    """
    shape = _tried(settings, encoder)
    voxels = np.random.default_rng(0).normal(100, 20, shape).astype(np.float32)
    image = scratch / "tilted.nii.gz"
    formats.write(image, voxels, formats.Grid(shape, _TILTED))
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", _CONFIG]
    command += ["--image", str(image), "--output_dir", str(scratch / "features")]
    done = subprocess.run(command, cwd=out, capture_output=True, text=True)
    if done.returncode:
        raise CheckpointError(f"{out}: the bundle was written but does not run: {done.stderr.strip()[-800:]}")
    with torch.no_grad():
        expected = encoder(encoder.preprocess(image)).numpy()
    return np.load(scratch / "features" / "tilted.npy"), expected


def preparation(encoder: Any) -> dict[str, Any]:
    """What the bundle's own preparation needs to know, see `bundle_script.Prepare`.

    Raises:
        CheckpointError: The encoder was not trained on files of volumes.
        ConfigError: It was trained on several sets, and which one's preparation is meant is not said.
    """
    part = encoder.preprocess.data()
    part = getattr(part, "volume_data", part)
    part = part.set_of("NIfTI") if hasattr(part, "set_of") else part
    found: dict[str, Any] = {}
    if hasattr(part, "cache") and hasattr(part, "new_case"):
        if hasattr(part, "axis"):
            found = {"axis": part.axis, "size": list(part.size), "fit": "pad", "upright": part.upright}
            found |= {"num_slices": part.num_slices} if hasattr(part, "target") and hasattr(part, "num_slices") else {}
        elif encoder.spatial_dims == len(part.size) == 3:  # any size where patches were cut, else the one of training
            cut = hasattr(part, "patches_per_volume")
            fit = getattr(part, "fit", "pad")
            found = {"axis": None, "size": None if cut else list(part.size), "fit": None if cut else fit}
    if not found:
        raise CheckpointError(
            "--format monai-bundle: a bundle takes volume files, but this encoder was not trained on any. "
            "Use pt2, onnx, safetensors or hf."
        )
    cache, spacing = part.cache, part.cache.spacing
    found |= {"percentiles": list(cache.percentiles), "score_range": list(cache.score_range)}
    found |= {"spacing": None if spacing is None else list(spacing), "channels": getattr(part, "channels", 1)}
    return found | {"stacked": getattr(encoder, "takes_stacks", False)}


def _tried(settings: dict[str, Any], encoder: Any) -> tuple[int, int, int]:
    """The shape of a volume that the bundle takes; another one than that of training, where it may be."""
    if settings["axis"] is not None:
        side = max(22, settings.get("num_slices", 0))
        return side, side + 4, side + 2
    if settings["size"] is None:
        side = 2 * max(encoder.pyramid_strides)
        return side + 3, side + 7, side + 4
    more = 0 if settings["fit"] is None else 2
    first, second, third = (side + more for side in settings["size"])
    return first, second, third


def _inference(settings: dict[str, Any]) -> dict[str, Any]:
    return {
        "imports": ["$from scripts.prepare import write_features", "$import torch"],
        "bundle_root": ".",
        "image": "volume.nii.gz",
        "output_dir": "features",
        "network": "$torch.export.load(@bundle_root + '/models/model.pt2').module()",
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "LoadImage", "image_only": True},
                {"_target_": "EnsureChannelFirst"},
                {"_target_": "Orientation", "axcodes": "RAS"},
                {"_target_": "scripts.prepare.Prepare", **settings},
            ],
        },
        "run": ["$write_features(@network, @preprocessing, @image, @output_dir)"],
    }


def _metadata(encoder: Any) -> dict[str, Any]:
    return {
        "schema": "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json",
        "version": __version__,
        "changelog": {__version__: "exported"},
        "monai_version": metadata.version("monai"),
        "pytorch_version": metadata.version("torch"),
        "numpy_version": metadata.version("numpy"),
        "required_packages_version": {"nibabel": metadata.version("nibabel"), "fire": metadata.version("fire")},
        "name": "medgraph encoder",
        "task": "Features of volumes by a pre-trained encoder",
        "description": "Reads a volume file and writes the encoder's features as .npy. See docs/README.md.",
        "authors": "see docs/README.md",
        "copyright": "see docs/README.md",
        "network_data_format": {
            "inputs": {"image": {"type": "image", "num_channels": encoder.in_channels, "dtype": "float32"}},
            "outputs": {"pred": {"type": "feature", "num_channels": encoder.out_dim, "dtype": "float32"}},
        },
    }
