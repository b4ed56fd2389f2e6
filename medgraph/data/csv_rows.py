"""The rows of a CSV file as text, with errors that name the file and the line."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from medgraph.errors import DataError


def read_rows(file: Path) -> tuple[list[str], dict[int, dict[str, str]]]:
    """The columns of a file that is there, and its rows by the lines that they begin on; empty lines are left out.

    Raises:
        DataError: Not UTF-8; a column twice; a row with fewer cells than columns, or more; quotes that do not close.
    """
    parsed = _parsed(file, ",")
    _, columns = next(parsed, (1, []))
    return columns, {line: dict(zip(columns, cells, strict=False)) for line, cells in parsed}


def check_rows(file: Path, delimiter: str) -> None:
    """Raise DataError, as `read_rows` does, for a table that another reader refuses without naming the line."""
    for _ in _parsed(file, delimiter):
        pass


def read_text(file: Path) -> str:
    """The text of a file, without the mark that some programs begin it with. Raises DataError where not UTF-8."""
    try:
        return file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DataError(
            f"{file}, line {line}: holds the byte 0x{error.object[error.start]:02x}, expected text in UTF-8. Save the "
            "table again as UTF-8; Excel calls this kind `CSV UTF-8`."
        ) from error


def _parsed(file: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Line and cells of the header, then of each row."""
    reader = csv.reader(io.StringIO(read_text(file), newline=""), delimiter=delimiter, strict=True)
    columns: list[str] = []
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(f"{file}, line {line}: not a row of CSV ({error}). Mend its quotes and commas.") from error
        if cells and not columns:
            columns = cells
            _check_columns(file, line, columns, delimiter)
        elif cells and (len(cells) < len(columns) or any(cells[len(columns) :])):
            raise DataError(
                f"{file}, line {line}: has {len(cells)} cells, expected {len(columns)} for the columns "
                f"{', '.join(columns)}. Leave a cell empty where nothing is known, and quote one that holds a comma."
            )
        if cells:
            yield line, cells


def _check_columns(file: Path, line: int, columns: list[str], delimiter: str) -> None:
    others = [mark for mark in ",;\t" if mark in columns[0] and mark != delimiter]
    if len(columns) == 1 and others:
        raise DataError(
            f"{file}, line {line}: cells are set apart by {others[0]!r}, expected {delimiter!r}. Save it again so."
        )
    twice = [name for name in columns if name and columns.count(name) > 1]
    if twice:
        raise DataError(f"{file}, line {line}: has the column {twice[0]!r} twice, expected each once. Rename one.")
