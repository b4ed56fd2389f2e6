import pytest
from reference.contrast_files import write_pictures

from medgraph.data.two_folders import TwoFoldersSource
from medgraph.errors import DataError


def test_every_file_has_group_subject_and_part(tmp_path):
    write_pictures(tmp_path / "a" / "deep", 10)
    write_pictures(tmp_path / "b", 10)
    files = TwoFoldersSource(str(tmp_path / "a"), str(tmp_path / "b")).files
    assert [file.is_target for file in files] == [False] * 10 + [True] * 10
    for group in (False, True):
        assert sum(f.part == "test" for f in files if f.is_target is group) == 3


def test_files_of_one_subject_stay_together(tmp_path):
    write_pictures(tmp_path / "a", 20)
    write_pictures(tmp_path / "b", 20)
    files = TwoFoldersSource(str(tmp_path / "a"), str(tmp_path / "b"), subject_pattern=r"(\d)\.png").files
    parts = {}
    for file in files:
        parts.setdefault(file.subject, set()).add(file.part)
    assert all(len(found) == 1 for found in parts.values())
    assert len(parts) == 20


def test_missing_empty_and_foreign_folders_are_named(tmp_path):
    write_pictures(tmp_path / "a", 3)
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="no such folder, expected one of images or volumes"):
        _ = TwoFoldersSource(str(tmp_path / "a"), str(tmp_path / "nowhere")).files
    with pytest.raises(DataError, match="so one group would be empty"):
        _ = TwoFoldersSource(str(tmp_path / "a"), str(tmp_path / "none")).files
    with pytest.raises(DataError, match="finds no group in this name"):
        _ = TwoFoldersSource(str(tmp_path / "a"), str(tmp_path / "a"), subject_pattern="(sub)").files
