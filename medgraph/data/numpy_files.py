"""Arrays in `.npy` and `.npz` files, with errors that name the file. A pickle in one is never opened."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from zipfile import BadZipFile

import numpy as np
from numpy.lib.npyio import NpzFile

from medgraph.errors import DataError

_ARRAY, _ARCHIVE = b"\x93NUMPY", b"PK"  # what the files begin with
# What numpy and zipfile raise for a file that was cut, altered or never theirs.
_DAMAGE = (OSError, ValueError, LookupError, EOFError, SyntaxError, RuntimeError, zlib.error, BadZipFile)


def read_array(file: Path, expected: str) -> np.ndarray:
    """The array of a `.npy` file. Raises DataError, which says what was `expected`."""
    with _opened(file, expected, _ARRAY) as stream:
        return np.load(stream, allow_pickle=False)


@contextmanager
def open_arrays(file: Path, expected: str) -> Iterator[NpzFile]:
    """The arrays of a `.npz` file, each read when it is asked for; one that is damaged raises DataError then."""
    with _opened(file, expected, _ARCHIVE) as stream, np.load(stream, allow_pickle=False) as stored:
        yield stored


@contextmanager
def _opened(file: Path, expected: str, start: bytes) -> Iterator[IO[bytes]]:
    try:
        with file.open("rb") as stream:
            found = stream.read(len(start))
            if found != start:  # numpy would take it for a pickle
                raise ValueError(f"begins with {found!r} instead of {start!r}")
            stream.seek(0)
            yield stream
    except DataError:
        raise
    except _DAMAGE as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(f"{file}: expected {expected}, never a pickle: {reason}. Fetch or write it again.") from error
