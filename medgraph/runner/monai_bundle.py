"""An encoder as a MONAI bundle: `python -m monai.bundle run` takes a volume file to features, without medgraph."""

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


def write_bundle(out: Path, program: Any, encoder: Any, card: str) -> None:
    """Write the bundle. Its network is the exported program, so that it needs no code of ours.

    Raises:
        CheckpointError: The encoder was not trained on slices of volumes.
    """
    settings = _preparation(encoder)
    for folder in ("configs", "models", "scripts", "docs"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    torch.export.save(program, out / "models" / "model.pt2")
    (out / "scripts" / "__init__.py").write_text("")
    (out / "scripts" / "prepare.py").write_text(SCRIPT.read_text(encoding="utf-8"), encoding="utf-8")
    (out / "docs" / "README.md").write_text(card, encoding="utf-8")
    (out / "configs" / "metadata.json").write_text(json.dumps(_metadata(encoder), indent=2) + "\n")
    (out / _CONFIG).write_text(json.dumps(_inference(settings), indent=2) + "\n")


def run_bundle(out: Path, encoder: Any, scratch: Path) -> tuple[np.ndarray, np.ndarray]:
    """Run the bundle as a user would, on a tilted NIfTI file.

    Returns:
        Its features, and those of the encoder.

    Raises:
        CheckpointError: It does not run.
    """
    voxels = np.random.default_rng(0).normal(100, 20, (22, 26, 24)).astype(np.float32)
    image = scratch / "tilted.nii.gz"
    formats.write(image, voxels, formats.Grid((22, 26, 24), _TILTED))
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", _CONFIG]
    command += ["--image", str(image), "--output_dir", str(scratch / "features")]
    done = subprocess.run(command, cwd=out, capture_output=True, text=True)
    if done.returncode:
        raise CheckpointError(f"{out}: the bundle was written but does not run: {done.stderr.strip()[-800:]}")
    with torch.no_grad():
        expected = encoder(encoder.preprocess(image)).numpy()
    return np.load(scratch / "features" / "tilted.npy"), expected


def _preparation(encoder: Any) -> dict[str, Any]:
    """What the bundle's own preparation needs to know."""
    data = encoder.preprocess.data()
    data = getattr(data, "volume_data", data)
    for part in (data, *getattr(data, "data", ())):
        if hasattr(part, "axis") and hasattr(part, "cache"):
            found = {"axis": part.axis, "size": list(part.size), "percentiles": list(part.cache.percentiles)}
            spacing = part.cache.spacing
            stacked = getattr(encoder, "takes_stacks", False)
            return found | {"spacing": None if spacing is None else list(spacing), "stacked": stacked}
    raise CheckpointError(
        "--format monai-bundle: a bundle takes volume files, but this encoder was not trained on slices of volumes. "
        "Use pt2, onnx, safetensors or hf."
    )


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
