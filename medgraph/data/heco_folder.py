"""Folders in the layout of HeCo's repository: `pa.txt` edges, `p_feat.npz`, `labels.npy`, `train_20.npy`, `pap.npz`."""

import os
import re
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from medgraph.data.graph_source import GraphSource
from medgraph.data.graphs import Features, Graph, make_graph
from medgraph.data.metapath import EdgeType
from medgraph.data.node_labels import PARTS
from medgraph.data.numpy_files import open_arrays, read_array
from medgraph.errors import DataError

# Letters of the edge files of the published folders -> full names of the node types.
_NAMES = {
    frozenset("pas"): {"p": "paper", "a": "author", "s": "subject"},
    frozenset("pact"): {"p": "paper", "a": "author", "c": "conference", "t": "term"},
    frozenset("par"): {"p": "paper", "a": "author", "r": "reference"},
    frozenset("madk"): {"m": "movie", "a": "actor", "d": "director", "k": "keyword"},
    frozenset("madw"): {"m": "movie", "a": "actor", "d": "director", "w": "writer"},
}


class HeCoGraph(GraphSource):
    """A folder of edge lists named by first letters, with `labels.npy` and `train_N.npy`, `val_N.npy`, `test_N.npy`.

    Read are `xy.txt` (two node numbers a line), `x_feat.npz` (a scipy matrix, or a plain array), labels and splits.
    Neighbour lists that are pickles are never opened: the edge lists say the same. Adjacencies of meta-paths are not
    read either, only their names, to find the target type.

    Args:
        root: The folder.
        target_type: Full name of the node type that is embedded; None finds it from the names of the meta-path files.
        node_types: Full name for each letter; None takes those of the published folders, or else the letters.
        metapaths: Names (`pap`, `paper-author-paper`); None takes all of one or two steps out and back.
        normalize: Divide each row of features by its sum of absolute values.
    """

    def __init__(
        self,
        root: str,
        target_type: str | None = None,
        node_types: dict[str, str] | None = None,
        metapaths: tuple[str, ...] | None = None,
        normalize: bool = True,
    ):
        self.root = root
        self.target_type = target_type
        self.node_types = node_types
        self.metapaths = metapaths
        self.normalize = normalize

    def __repr__(self) -> str:
        return f"HeCoGraph(root={str(self.root)!r})"

    def read(self) -> Graph:
        """Read the folder."""
        folder = Path(os.path.expanduser(self.root))
        files = {file.stem: file for file in sorted(folder.glob("??.txt"))}
        if not files:
            raise DataError(
                f"{folder}: no edge list, expected files like pa.txt with two node numbers a line. Check root."
            )
        letters = {letter for stem in files for letter in stem}
        names = self.node_types or _NAMES.get(frozenset(letters), {letter: letter for letter in sorted(letters)})
        unnamed = sorted(letters - set(names))
        if unnamed:
            raise DataError(f"{folder}: node_types has no name for {unnamed[0]!r} of its edge files.")
        target = self.target_type or names[_target_letter(folder, letters)]
        edges: dict[EdgeType, np.ndarray] = {
            (names[stem[0]], "to", names[stem[1]]): _read_edges(file) for stem, file in files.items()
        }
        features = {
            names[letter]: _read_features(file)
            for letter in sorted(letters)
            if (file := folder / f"{letter}_feat.npz").exists()
        }
        labels = _load(folder / "labels.npy") if (folder / "labels.npy").exists() else None
        counts = _node_counts(edges, features, {} if labels is None else {target: len(labels)})
        return make_graph(
            target, counts, edges, features, labels, _read_splits(folder), self.metapaths, self.normalize, str(folder)
        )


def _target_letter(folder: Path, letters: set[str]) -> str:
    """The letter at both ends of the meta-path files."""
    stems = [file.stem for file in folder.glob("*.npz") if set(file.stem) <= letters and len(file.stem) > 2]
    ends = {stem[0] for stem in stems if stem[0] == stem[-1]}
    if len(ends) != 1:
        raise DataError(
            f"{folder}: cannot tell the target type from meta-path files (found {', '.join(sorted(stems)) or 'none'}). "
            "Set target_type."
        )
    return ends.pop()


def _read_edges(file: Path) -> np.ndarray:
    try:
        pairs = np.loadtxt(file, dtype=np.int64, ndmin=2)
    except ValueError as error:
        raise DataError(f"{file}: expected two node numbers a line: {error}") from error
    if pairs.shape[1] != 2:
        raise DataError(f"{file}: {pairs.shape[1]} columns, expected two node numbers a line.")
    return pairs.T


def _load(file: Path) -> np.ndarray:
    return read_array(file, "an array of numbers")


def _read_features(file: Path) -> Features:
    with file.open("rb") as stream:
        is_array = stream.read(6) == b"\x93NUMPY"  # a plain array under the name of an archive exists in the wild
    if is_array:
        return _load(file)
    with open_arrays(file, "features as a scipy matrix"):
        return sp.csr_matrix(sp.load_npz(file))


def _read_splits(folder: Path) -> dict[str, dict[str, np.ndarray]]:
    splits: dict[str, dict[str, np.ndarray]] = {}
    for file in sorted(folder.glob("*_*.npy")):
        match = re.fullmatch(r"(train|val|test)_(\w+)", file.stem)
        if match:
            splits.setdefault(match[2], {})[match[1]] = _load(file)
    return {name: {part: parts[part] for part in PARTS if part in parts} for name, parts in sorted(splits.items())}


def _node_counts(
    edges: dict[EdgeType, np.ndarray], features: dict[str, Features], known: dict[str, int]
) -> dict[str, int]:
    """Rows of the features or labels, or else one more than the largest number in the edges."""
    counts = {name: matrix.shape[0] for name, matrix in features.items()} | known
    for (source, _, destination), index in edges.items():
        for side, name in ((0, source), (1, destination)):
            if name not in features and name not in known:
                counts[name] = max(counts.get(name, 0), int(index[side].max(initial=-1)) + 1)
    return counts
