"""The rows of a CSV file as text, with errors that name the file and the line."""

import csv
import io
from pathlib import Path

from medgraph.errors import DataError


def read_rows(file: Path) -> tuple[list[str], dict[int, dict[str, str]]]:
    """The columns of a file that is there, and its rows by the lines that they begin on; empty lines are left out.

    Raises:
        DataError: Not UTF-8; a column twice; a row with fewer cells than columns, or more; quotes that do not close.
    """
    reader = csv.reader(io.StringIO(read_text(file), newline=""), strict=True)
    columns: list[str] = []
    rows: dict[int, dict[str, str]] = {}
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return columns, rows
        except csv.Error as error:
            raise DataError(f"{file}, line {line}: not a row of CSV ({error}). Mend its quotes and commas.") from error
        if not columns:
            columns = cells
            _check_columns(file, line, columns)
        elif cells and (len(cells) < len(columns) or any(cells[len(columns) :])):
            raise DataError(
                f"{file}, line {line}: has {len(cells)} cells, expected {len(columns)} for the columns "
                f"{', '.join(columns)}. Leave a cell empty where nothing is known, and quote one that holds a comma."
            )
        elif cells:
            rows[line] = dict(zip(columns, cells, strict=False))


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


def _check_columns(file: Path, line: int, columns: list[str]) -> None:
    if len(columns) == 1 and (other := next((mark for mark in ";\t" if mark in columns[0]), None)):
        raise DataError(f"{file}, line {line}: cells are set apart by {other!r}, expected commas. Save it with commas.")
    twice = [name for name in columns if name and columns.count(name) > 1]
    if twice:
        raise DataError(f"{file}, line {line}: has the column {twice[0]!r} twice, expected each once. Rename one.")
