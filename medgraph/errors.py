"""What can go wrong through input: every error a user can cause, and nothing else."""


class MedgraphError(Exception):
    """Root of all errors that a user's input can cause; the command line prints them without a traceback.

    Attributes:
        exit_code: What the command line then leaves with.
    """

    exit_code = 2


class ConfigError(MedgraphError, ValueError):
    """A pipeline, a config or an override is wrong. One line per mistake, `file:line:column: key: message`."""


class DataError(MedgraphError, ValueError):
    """A file or a set of files does not hold what was promised. Names the file, what was expected and what came."""


class CheckpointError(MedgraphError, ValueError):
    """A checkpoint or exported encoder does not fit the model that should take it, or cannot be read."""
