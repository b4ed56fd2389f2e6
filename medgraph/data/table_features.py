"""Node features from columns and embedding files: numbers standardized, categories one-hot."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp

from medgraph.data.missing import MISSING, spelled_out
from medgraph.data.numpy_files import read_array
from medgraph.data.table_files import column_types, read_table, unique_keys
from medgraph.errors import DataError

_DENSE_WIDTH = 128  # one-hot columns up to this many are stored dense


def numeric_features(
    column: pa.ChunkedArray, what: str, notes: list[str], scale: Sequence[float] | None = None
) -> tuple[np.ndarray, list[float]]:
    """(n, 1) standardized, and the mean and deviation by which; an unknown value becomes the mean, which is noted.

    Args:
        column: The numbers.
        what: Where they stand, for messages.
        notes: Takes a line if values are missing.
        scale: Mean and deviation; None: those of the known values.
    """
    kinds = (pa.types.is_floating, pa.types.is_integer, pa.types.is_boolean, pa.types.is_null)
    if not any(is_kind(column.type) for is_kind in kinds):
        raise DataError(f"{what}: holds {column.type}, expected numbers. Is it categorical?")
    values = np.array(pc.cast(column, pa.float64()).to_numpy(), dtype=np.float64)
    known = np.isfinite(values)
    if not known.any() and scale is None:
        raise DataError(f"{what}: no value is a finite number.")
    if not known.all():
        notes.append(f"{what}: {int((~known).sum())} of {len(values)} values are missing; set to the mean.")
    mean, deviation = scale or (float(values[known].mean()), float(values[known].std()))
    values[~known] = mean
    return ((values - mean) / (deviation if deviation > 0 else 1.0))[:, None], [mean, deviation]


def categorical_features(
    column: pa.ChunkedArray, what: str, notes: list[str], categories: Sequence[str] | None = None
) -> tuple[sp.csr_matrix, list[str]]:
    """(n, categories) with 1 at the category, and their names; a missing one gives a row of zeros.

    Args:
        column: The categories.
        what: Where they stand, for messages.
        notes: Takes a line if words count as missing, see `missing.MISSING`, or are not among `categories`, which then
            count as missing, too.
        categories: Their names, in order; None: all that are there, in order of their text.
    """
    text = pc.fill_null(pc.cast(column, pa.string()), "")
    words = set(pc.unique(text).to_pylist())
    if words & MISSING - {""}:
        notes += spelled_out(text.to_pylist(), what)
    present = sorted(words - MISSING)
    names = present if categories is None else list(categories)
    codes = pc.index_in(text, value_set=pa.array(names, pa.string()))
    rows = np.flatnonzero(_is_valid(codes))
    unknown = sorted(set(present) - set(names))
    if unknown:
        count = int(_is_valid(pc.index_in(text, value_set=pa.array(unknown, pa.string()))).sum())
        notes.append(
            f"{what}: {count} of {len(column)} values are of no known category, as {unknown[0]!r}; set to zeros."
        )
    columns = pc.drop_null(codes).to_numpy()
    return sp.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(column), len(names))), names


def _is_valid(codes: pa.ChunkedArray) -> np.ndarray:
    return np.asarray(pc.is_valid(codes).to_numpy())


def embedding_features(file: Path, ids: Path | None, key: str, keys: pa.Array, notes: list[str]) -> np.ndarray:
    """(n, d) from an exported `.npy`, a row for each node.

    Args:
        file: The array.
        ids: Table whose column `key`, or else `id`, `case` or the only one of text, names the node of each row; None:
            rows are in the table's order.
        key: Name of the node table's key.
        keys: The keys of the nodes.
        notes: Takes a line if nodes have no embedding (they get zeros) or rows belong to no node (they are left out).
    """
    if not file.is_file():
        raise DataError(f"{file}: no such file, expected the embeddings of an encoder.")
    array = read_array(file, "an array of numbers")
    if array.ndim != 2:
        raise DataError(f"{file}: has shape {array.shape}, expected (nodes, width).")
    if ids is None:
        if len(array) != len(keys):
            raise DataError(
                f"{file}: {len(array)} rows for {len(keys)} nodes; name an embedding_ids file that pairs them."
            )
        return array
    named = unique_keys(_ids(ids, key), f"{ids}")
    if len(named) != len(array):
        raise DataError(f"{ids}: {len(named)} ids for the {len(array)} rows of {file.name}.")
    place = pc.index_in(keys, value_set=named)
    known = pc.is_valid(place).to_numpy(zero_copy_only=False)
    if not known.all():
        notes.append(f"{file}: {int((~known).sum())} of {len(keys)} nodes have no embedding; set to zeros.")
    spare = len(named) - int(known.sum())
    if spare:
        notes.append(f"{file}: {spare} of {len(named)} rows belong to no node; left out.")
    features = np.zeros((len(keys), array.shape[1]), dtype=np.float32)
    features[known] = array[pc.drop_null(place).to_numpy()]
    return features


def join_features(blocks: Sequence[np.ndarray | sp.csr_matrix]) -> np.ndarray | sp.csr_matrix | None:
    """Blocks side by side, sparse if many of their columns are one-hot; None without blocks."""
    if not blocks:
        return None
    if sum(block.shape[1] for block in blocks if sp.issparse(block)) > _DENSE_WIDTH:
        return sp.hstack(blocks, format="csr")
    return np.hstack([sp.csr_matrix(block).toarray() if sp.issparse(block) else block for block in blocks])


def _ids(file: Path, key: str) -> pa.ChunkedArray:
    types = column_types(file)
    text = [name for name, kind in types.items() if pa.types.is_string(kind) or pa.types.is_large_string(kind)]
    named = [name for name in (key, "id", "case") if name in types]
    if not named and len(text) != 1:
        raise DataError(
            f"{file}: no column is called {key!r}, 'id' or 'case', and {len(text)} hold text, expected one that names "
            f"the node of each row. Columns: {', '.join(types)}."
        )
    name = (named or text)[0]
    return read_table(file, [name], [name])[name]
