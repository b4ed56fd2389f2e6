"""Files are found through links to folders, once, and never where they are hidden."""

import numpy as np
import pytest

from medgraph.data import formats, itk
from medgraph.data.folder import FolderSource
from medgraph.data.images import ImageFolderData
from medgraph.data.listing import matching
from medgraph.data.two_folders import TwoFoldersSource
from medgraph.errors import DataError


@pytest.fixture
def root(tmp_path):
    """Two subjects, one of them a link to elsewhere; hidden files and folders; links that go round."""
    root = tmp_path / "set"
    for name in ("s1/a.nii", "s1/deep/b.nii", "s1/._a.nii", ".git/c.nii", "top.nii"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "d.nii").write_bytes(b"")
    (root / "s2").symlink_to(tmp_path / "else")
    (root / "s1" / "up").symlink_to(root)
    (root / "s1" / "deep" / "up").symlink_to(root / "s1")
    return root


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("**/*.nii", ["s1/a.nii", "s1/deep/b.nii", "s2/d.nii", "top.nii"]),
        ("*/*.nii", ["s1/a.nii", "s2/d.nii"]),
        ("*.nii", ["top.nii"]),
        ("s1/**/*.nii", ["s1/a.nii", "s1/deep/b.nii", "s1/up/s2/d.nii", "s1/up/top.nii"]),
        ("s?/**/[bd].nii", ["s1/deep/b.nii", "s1/up/s2/d.nii", "s2/d.nii"]),
        ("*/", ["s1", "s2"]),
        ("s2/**", ["s2"]),
        (".git/*.nii", [".git/c.nii"]),
        ("none/**/*", []),
    ],
)
def test_a_glob_finds_what_is_not_hidden_and_goes_nowhere_twice(root, pattern, names):
    assert [path.relative_to(root).as_posix() for path in matching(root, pattern)] == names


def test_a_name_of_another_alphabet_is_told_before_itk_ends_the_process(tmp_path):
    itk.write_volume(tmp_path / "a.nrrd", np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.eye(4))
    strange = (tmp_path / "a.nrrd").rename(tmp_path / "caf\udce9.nrrd")  # \xe9 on disk, Latin-1 for e with an accent
    picture = tmp_path / "caf\udce9.png"
    picture.write_bytes(b"")
    for read in (
        lambda: formats.read_volume(strange),
        lambda: formats.read_grid(strange),
        lambda: FolderSource(str(tmp_path), "*.nrrd").cases,
        lambda: ImageFolderData(str(tmp_path), None).files,
        lambda: TwoFoldersSource(str(tmp_path), str(tmp_path)).files,
    ):
        with pytest.raises(DataError, match=r"caf\\xe9\.(nrrd|png): this path is not UTF-8, expected one that"):
            read()
