"""Files that are written whole or not at all."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
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
