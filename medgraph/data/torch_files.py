"""Files of torch.save, read so that no code in them can run."""

import re
from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from medgraph.errors import DataError, MedgraphError


def load(
    path: Path,
    expected: str,
    advice: str,
    classes: Sequence[type] = (),
    error: type[MedgraphError] = DataError,
) -> Any:
    """What a file of torch.save holds, on the CPU.

    Args:
        path: The file.
        expected: What should be in it, for the message.
        advice: What to do where it is not, a sentence.
        classes: Classes that it may hold beside tensors, numbers, text and containers of these.
        error: Class of the error.

    Raises:
        MedgraphError: Of the class `error`: torch did not write this file, or it holds anything else.
    """
    try:
        with torch.serialization.safe_globals(list(classes)):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as failure:  # bytes that torch did not write may fail anywhere in its reader
        raise error(
            f"{path}: is no file of torch.save, or cannot be read without running code from it ({_reason(failure)}), "
            f"expected {expected}. {advice}"
        ) from failure


def _reason(failure: Exception) -> str:
    """What torch's reader says went wrong, without its advice to run the code of the file."""
    told = re.search(r"WeightsUnpickler error:\s*(.*)", str(failure)) or re.search("(.*)", str(failure))
    words = re.split(r"\. (?:In PyTorch|Please)", told[1])[0][:200] if told else ""
    kind = "" if isinstance(failure, UnpicklingError | RuntimeError) else type(failure).__name__
    return f"{kind} {words}".strip()
