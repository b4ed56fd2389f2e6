import pytest
from reference.contrast_files import write_pictures

from medgraph.data.two_folders import TwoFoldersSource
from medgraph.errors import DataError


def test_every_file_has_group_subject_and_part(tmp_path):
    write_pictures(tmp_path / "a" / "deep", 10)
    write_pictures(tmp_path / "b", 10)
    files = TwoFoldersSource(str(tmp_path / "a"), str(tmp_path / "b"), subject_pattern=r"(\d+)\.png").files
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


def write_patients(folder, count):
    for number in range(count):
        for visit in ("first", "later"):
            (folder / f"p{number}" / visit).mkdir(parents=True)
            (folder / f"p{number}" / visit / "T1.nii.gz").touch()
        (folder / f"p{number}" / "T2.nii.gz").touch()


def test_a_folder_of_files_is_one_subject(tmp_path):
    write_patients(tmp_path / "a", 10)
    write_patients(tmp_path / "b", 10)
    write_pictures(tmp_path / "b", 10)
    files = TwoFoldersSource(str(tmp_path / "a"), str(tmp_path / "b")).files
    subjects = {file.subject for file in files}
    assert len(subjects) == 10 + 10 + 10
    assert {"background/p3", "target/p3", "target/3.png"} < subjects
    assert len({(file.subject, file.part) for file in files}) == len(subjects)
    assert sum(file.part == "test" for file in files if not file.is_target) == 3 * 3


def test_a_pattern_finds_the_subject_in_the_path(tmp_path):
    for place in ("a", "b"):
        write_patients(tmp_path / place / "site", 10)
    files = TwoFoldersSource(str(tmp_path / "a"), str(tmp_path / "b"), subject_pattern=r"site/(p\d)").files
    assert {file.subject for file in files} == {
        f"{group}/p{n}" for group in ("background", "target") for n in range(10)
    }
    assert len({(file.subject, file.part) for file in files}) == 20
    with pytest.raises(
        DataError, match=r"a: 1 subjects for 2 parts .* Are there more\? Tell them by source.subject_patt"
    ):
        _ = TwoFoldersSource(str(tmp_path / "a"), str(tmp_path / "b")).files


@pytest.mark.parametrize("places", [("a", "a/with"), ("a/with", "a"), ("a", "b/../a")])
def test_folders_of_which_one_holds_the_other_are_refused(tmp_path, places):
    write_pictures(tmp_path / "a", 4)
    write_pictures(tmp_path / "a" / "with", 4)
    (tmp_path / "b").mkdir()
    with pytest.raises(DataError, match="one holds the other, so files would be in both groups"):
        _ = TwoFoldersSource(*(str(tmp_path / place) for place in places), subject_pattern=r"(\d)\.png").files


def test_missing_empty_and_foreign_folders_are_named(tmp_path):
    write_pictures(tmp_path / "a", 3)
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="no such folder, expected one of images or volumes"):
        _ = TwoFoldersSource(str(tmp_path / "a"), str(tmp_path / "nowhere")).files
    with pytest.raises(DataError, match="so one group would be empty"):
        _ = TwoFoldersSource(str(tmp_path / "a"), str(tmp_path / "none")).files
    with pytest.raises(DataError, match=r"finds no group in '0.png', expected the subject"):
        _ = TwoFoldersSource(str(tmp_path / "a"), str(tmp_path / "a"), subject_pattern="(sub)").files
