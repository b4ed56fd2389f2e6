"""What the command line says of errors that are no defect: of input, of the system, and of memory that is not there."""

import errno

from medgraph.errors import MedgraphError

CAN_HAPPEN = (MedgraphError, OSError, MemoryError, RuntimeError)  # torch tells of missing memory by the last
_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")
_SMALLER = "Take smaller batches, crops, sizes or graphs; each stage tells the memory it expects before its first step."


def line_of(error: Exception) -> str | None:
    """What to tell of an error in place of its traceback; None of one that nobody but a developer can mend."""
    if isinstance(error, MedgraphError):
        return str(error)
    if isinstance(error, OSError):  # a folder that may not be written, a file where a folder was named, a full disk
        if error.filename is None and error.errno not in (errno.ENOSPC, errno.EDQUOT):
            return None
        place = error.filename2 or error.filename or "disk"  # of a copy, where it should have gone
        return f"{place}: {error.strerror}. Check the path, what you may do there, and the room left."
    text = str(error)
    if isinstance(error, MemoryError) or any(words in text.lower() for words in _MEMORY):
        return f"out of memory: {text.partition(chr(10))[0] or 'no more is left'}. {_SMALLER}"
    return None
