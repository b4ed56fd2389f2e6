"""The C library's allocator, told to keep what a training step frees for the next step."""

import ctypes
import os

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc, malloc.h
_KEPT, _LARGEST = 512 << 20, 256 << 20  # bytes: free at the end of the heap; of one block


def keep_freed_memory() -> bool:
    """Have freed blocks of up to 256 MiB used again instead of returned to the system; whether that was possible.

    glibc returns each block above 32 MiB as soon as it is freed, and the system clears every page of the next one:
    for activations of 3D networks, once for each layer of each step. Up to 512 MiB stay with the process.

    Nothing is done where the C library has no such setting, or where the user made it (MALLOC_MMAP_THRESHOLD_).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is None or "MALLOC_MMAP_THRESHOLD_" in os.environ:
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST) and mallopt(_TRIM_THRESHOLD, _KEPT))
