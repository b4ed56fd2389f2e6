"""Files that are written whole or not at all, and what tells their content."""

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A place to write to that becomes `path` in one move at the end; nothing is left of it if anything goes wrong.

    Raises:
        OSError: It cannot be written; names `path`, whatever the writer said.
    """
    temporary = path.with_name(f".{os.getpid()}-{path.name}")  # the ending stays: writers go by it
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        if error.filename not in (None, str(temporary)):
            raise
        raise OSError(error.errno or errno.EIO, error.strerror or str(error), str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def content_hash(path: Path) -> str:
    """sha256 of the content of a file, which is read once for each of its states. Raises OSError."""
    state = path.stat()
    return _content_hash(str(path), state.st_size, state.st_ino, state.st_mtime_ns, state.st_ctime_ns)


@lru_cache(maxsize=100_000)
def _content_hash(path: str, *state: int) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
