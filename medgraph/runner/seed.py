"""One place where the global generators are seeded: before building, and before each step."""

import hashlib
import random

import numpy as np
import torch


def seed_all(*parts: int | str) -> None:
    """Seed torch, numpy and Python from the given parts, e.g. (run seed, step).

    Methods draw from their own generators; what remains (initial weights, dropout) follows this seed, so that a resumed
    run repeats the uninterrupted one without storing generator states.
    """
    digest = hashlib.sha256(repr(parts).encode()).digest()
    number = int.from_bytes(digest[:4], "little")
    torch.default_generator.manual_seed(number)
    if torch.cuda.is_available():  # torch.manual_seed would queue a stack trace for each absent backend, at every step
        torch.cuda.manual_seed_all(number)
    np.random.seed(number)
    random.seed(number)
