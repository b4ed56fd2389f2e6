"""Files are found through links to folders, once, and never where they are hidden."""

import pytest

from medgraph.data.listing import matching


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
