import pytest

from medgraph.data.folder import FolderSource
from medgraph.errors import DataError


def touch(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def test_images_and_labels_are_paired_by_what_varies(tmp_path):
    touch(tmp_path, *[f"s{i}/anat/{j}_{kind}.nii.gz" for i in range(3) for j in "ab" for kind in ("T1w", "seg", "T2w")])
    source = FolderSource(
        str(tmp_path), "*/anat/*_T1w.nii.gz", "*/anat/*_seg.nii.gz", ("background", "lesion"), subject_pattern="(s.)"
    )
    assert source.classes == ("background", "lesion")
    assert [case.id for case in source.cases] == ["s0-a", "s0-b", "s1-a", "s1-b", "s2-a", "s2-b"]
    for case in source.cases:
        assert str(case.label) == str(case.image).replace("_T1w", "_seg")
        assert case.subject == case.id[:2]
    assert len({(case.subject, case.part) for case in source.cases}) == 3


def test_endings_in_capitals_are_found(tmp_path):
    touch(tmp_path, "a_T1.nii.gz", "B_T1.NII.GZ", "c_t1.nii.gz", "d_T1.nii", "E_T1.Nii.gz")
    assert [case.id for case in FolderSource(str(tmp_path), "*_T1.nii.gz").cases] == ["B", "E", "a"]


def test_any_depth_without_labels(tmp_path):
    touch(tmp_path, "a.nii.gz", "x/b.nii.gz", "x/y/c.nii.gz", "x/notes.txt")
    cases = FolderSource(str(tmp_path), "**/*.nii.gz", frame=1).cases
    assert [case.id for case in cases] == ["a", "x-b", "x/y-c"]
    assert all(case.label is None and case.frame == 1 for case in cases)


def test_a_missing_label_is_none_and_a_missing_image_an_error(tmp_path):
    touch(tmp_path, "1_img.nii", "2_img.nii", "3_img.nii", "1_lab.nii", "3_lab.nii")
    source = FolderSource(str(tmp_path), "*_img.nii", "*_lab.nii")
    assert [case.label is None for case in source.cases] == [False, True, False]
    touch(tmp_path, "4_lab.nii")
    with pytest.raises(DataError, match=r"4_lab.nii: label without image"):
        _ = FolderSource(str(tmp_path), "*_img.nii", "*_lab.nii").cases


def test_one_letter_of_several_is_a_wildcard_too(tmp_path):
    touch(tmp_path, *[f"s{i}_{kind}.nii.gz" for i in range(4) for kind in ("T1", "seg")])
    cases = FolderSource(str(tmp_path), "s[0-2]_T1.nii.gz", "s[!3]_seg.nii.gz", fractions=(1, 0, 0)).cases
    assert [(case.id, case.label and case.label.name) for case in cases] == [
        (f"{i}", f"s{i}_seg.nii.gz") for i in range(3)
    ]


def test_a_label_is_not_taken_for_an_image(tmp_path):
    touch(tmp_path, *[f"{i}{kind}.nii.gz" for i in range(3) for kind in ("", "_seg")])
    with pytest.raises(DataError, match=r"0_seg.nii.gz: matches images '\*\.nii\.gz' and labels '\*_seg\.nii\.gz'"):
        _ = FolderSource(str(tmp_path), "*.nii.gz", "*_seg.nii.gz").cases


def test_an_empty_folder_names_the_glob(tmp_path):
    touch(tmp_path, "a.txt")
    with pytest.raises(DataError, match=r"no file matches '\*\.nii\.gz', expected volumes"):
        _ = FolderSource(str(tmp_path)).cases


def test_no_folder(tmp_path):
    with pytest.raises(DataError, match="absent: no such folder"):
        _ = FolderSource(str(tmp_path / "absent")).cases


def test_two_files_of_one_id(tmp_path):
    touch(tmp_path, "a/b-c.nii", "a-b/c.nii")
    with pytest.raises(DataError, match="has the same id 'a-b-c' as"):
        _ = FolderSource(str(tmp_path), "*/*.nii").cases


def test_a_pattern_that_finds_no_subject(tmp_path):
    touch(tmp_path, "a.nii")
    with pytest.raises(DataError, match=r"subject_pattern '\(x\)' finds no group in the id 'a'"):
        _ = FolderSource(str(tmp_path), "*.nii", subject_pattern="(x)").cases
    with pytest.raises(DataError, match=r"subject_pattern '\(x\)\?a' finds no group in the id 'a'"):
        _ = FolderSource(str(tmp_path), "*.nii", subject_pattern="(x)?a").cases
