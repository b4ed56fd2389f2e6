"""Columns of CSV, TSV and parquet files, with errors that name the file and the column."""

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from medgraph.data.csv_rows import check_rows, read_text
from medgraph.errors import DataError

_DELIMITERS = {".csv": ",", ".tsv": "\t"}


def read_table(file: Path, columns: Sequence[str], text: Sequence[str] = ()) -> pa.Table:
    """These columns of a table.

    Args:
        file: A `.csv` or `.tsv` with a header, or a `.parquet`.
        columns: What is needed, each once.
        text: Those of them that are text whatever they look like, as keys are: `007` is not `7`.

    Raises:
        DataError: No such file or column, or a file that is no such table.
    """
    if not file.is_file():
        raise DataError(f"{file}: no such file, expected a table with the columns {', '.join(columns)}.")
    wanted = list(dict.fromkeys(columns))
    try:
        if file.suffix == ".parquet":
            table = _read_parquet(file, wanted)
        elif file.suffix in _DELIMITERS:
            parse = pyarrow.csv.ParseOptions(delimiter=_DELIMITERS[file.suffix], newlines_in_values=True)
            with pyarrow.csv.open_csv(file, parse_options=parse) as stream:
                known = stream.schema.names
            if len(known) == 1 and known != wanted:
                check_rows(file, _DELIMITERS[file.suffix])  # where cells are set apart by another mark, tells it
            _check_columns(file, wanted, known)
            convert = pyarrow.csv.ConvertOptions(
                include_columns=wanted, column_types={name: pa.string() for name in text}
            )
            table = pyarrow.csv.read_csv(file, parse_options=parse, convert_options=convert)
            if any(pa.types.is_binary(column.type) for column in table.columns):
                read_text(file)  # names the byte that is no text
        else:
            raise DataError(f"{file}: expected a .csv, .tsv or .parquet file.")
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _unreadable(file, error) from error
    for name in text:
        table = table.set_column(table.column_names.index(name), name, table[name].cast(pa.string()))
    return table.combine_chunks()


def column_types(file: Path) -> dict[str, pa.DataType]:
    """The columns of a table and what they hold, of a CSV as its first rows tell. Raises DataError."""
    if not file.is_file():
        raise DataError(f"{file}: no such file, expected a table.")
    try:
        if file.suffix == ".parquet":
            schema = pyarrow.parquet.read_schema(file)
        elif file.suffix in _DELIMITERS:
            parse = pyarrow.csv.ParseOptions(delimiter=_DELIMITERS[file.suffix], newlines_in_values=True)
            with pyarrow.csv.open_csv(file, parse_options=parse) as stream:
                schema = stream.schema
        else:
            raise DataError(f"{file}: expected a .csv, .tsv or .parquet file.")
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _unreadable(file, error) from error
    return dict(zip(schema.names, schema.types, strict=True)) | {name: pa.int64() for name in _ranges(schema)}


def unique_keys(column: pa.ChunkedArray, what: str) -> pa.Array:
    """The keys of a table. Raises DataError for one that is empty or comes twice."""
    keys = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    keys = keys.combine_chunks() if isinstance(keys, pa.ChunkedArray) else keys
    empty = np.flatnonzero(_to_numpy(pc.fill_null(pc.equal(keys, ""), True)))
    if len(empty):
        raise DataError(f"{what}, row {empty[0]}: empty key, expected one for each node.")
    counts = pc.value_counts(keys)
    if len(counts) < len(keys):
        twice = next(count["values"].as_py() for count in counts if count["counts"].as_py() > 1)
        raise DataError(f"{what}: key {twice!r} comes more than once, expected each node once.")
    return keys


def rows_of(column: pa.ChunkedArray, keys: pa.Array, what: str, owner: str) -> np.ndarray:
    """The row of each key in `keys`. Raises DataError for one that is not there."""
    found = pc.index_in(column, value_set=keys)
    missing = np.flatnonzero(_to_numpy(pc.is_null(found)))
    if len(missing):
        value = column[int(missing[0])].as_py()
        raise DataError(
            f"{what}, row {missing[0]}: {value!r} is not a key of {owner} ({len(missing)} such rows). "
            "Add the node, or take the row out."
        )
    return _to_numpy(found).astype(np.int64)


def _read_parquet(file: Path, wanted: Sequence[str]) -> pa.Table:
    """These columns; one that pandas kept as a range of numbers in the file's notes is written out."""
    schema = pyarrow.parquet.read_schema(file)
    ranges = {name: numbers for name, numbers in _ranges(schema).items() if name not in schema.names}
    _check_columns(file, wanted, [*schema.names, *ranges])
    table = pyarrow.parquet.read_table(file, columns=[name for name in wanted if name not in ranges])
    count = pyarrow.parquet.read_metadata(file).num_rows
    for name in (name for name in wanted if name in ranges):
        if len(ranges[name]) != count:
            raise DataError(
                f"{file}: its index {name!r} is kept as {len(ranges[name])} numbers for {count} rows. Write the table "
                "again after reset_index()."
            )
        table = table.append_column(name, pa.array(ranges[name], pa.int64()))
    return table.select(wanted)


def _ranges(schema: pa.Schema) -> dict[str, range]:
    """The named indices of pandas that a parquet file holds in its notes alone."""
    told = schema.pandas_metadata or {}
    kept = [index for index in told.get("index_columns", []) if isinstance(index, dict) and index.get("name")]
    return {str(index["name"]): range(index["start"], index["stop"], index["step"]) for index in kept}


def _unreadable(file: Path, error: Exception) -> DataError:
    """What is wrong with a table that a reader refused, with the line where there are lines."""
    if file.suffix in _DELIMITERS:
        check_rows(file, _DELIMITERS[file.suffix])
    return DataError(f"{file}: not a readable table: {' '.join(str(error).split())}. Mend it, or write it again.")


def _to_numpy(column: pa.ChunkedArray) -> np.ndarray:
    return column.to_numpy() if isinstance(column, pa.ChunkedArray) else column.to_numpy(zero_copy_only=False)


def _check_columns(file: Path, wanted: Sequence[str], known: Sequence[str]) -> None:
    for name in wanted:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f". Columns: {', '.join(known)}."
            raise DataError(f"{file}: no column is called {name!r}{hint}")
