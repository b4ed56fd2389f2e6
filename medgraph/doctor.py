"""What this machine offers: versions, devices, optional packages, disk."""

import os
import platform
import shutil
from importlib import metadata
from importlib.util import find_spec

from medgraph import __version__

_NEEDED = ("torch", "monai", "torch-geometric", "nibabel", "SimpleITK", "scikit-learn", "accelerate", "numpy")
_OPTIONAL = {"onnx": "export to ONNX", "triton": "fused kernels on a GPU"}


def lines() -> list[str]:
    """One line per fact."""
    import torch

    found = [f"medgraph {__version__}, Python {platform.python_version()}, {platform.platform()}"]
    found += [f"{name} {_version(name)}" for name in _NEEDED]
    found.append(f"processor: {os.cpu_count()} cores, {torch.get_num_threads()} threads in use")
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            facts = torch.cuda.get_device_properties(index)
            found.append(f"GPU {index}: {facts.name}, {facts.total_memory / 2**30:.0f} GiB")
    else:
        found.append("GPU: none that torch can use; runs take the processor")
    for module, purpose in _OPTIONAL.items():
        found.append(f"optional {module}: {'installed' if find_spec(module) else 'not installed'} ({purpose})")
    found.append(f"disk: {shutil.disk_usage('.').free / 2**30:.0f} GiB free in {os.getcwd()}")
    return found


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "is missing: pip install " + name
