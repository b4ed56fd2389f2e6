import pytest

from medgraph.data.group_manifest import GroupManifestSource
from medgraph.errors import DataError

ROWS = """subject,image,group,split,age,sex,score
a,a.png,background,train,30,f,
b,b.png,target,train,,m,7
c,c.png,target,val,50,f,2.5
"""


def source(tmp_path, text=ROWS, **settings):
    (tmp_path / "list.csv").write_text(text)
    settings = {"common_attributes": ("age", "sex"), "salient_attributes": ("score",), **settings}
    return GroupManifestSource(str(tmp_path / "list.csv"), **settings)


def test_columns_become_attributes_and_empty_cells_stay_unknown(tmp_path):
    found = source(tmp_path)
    assert [(a.name, a.role, a.num_classes) for a in found.attributes] == [
        ("age", "common", 0), ("sex", "common", 2), ("score", "salient", 0)
    ]  # fmt: skip
    assert [file.values for file in found.files] == [
        {"age": 30, "sex": 0}, {"sex": 1, "score": 7}, {"age": 50, "sex": 0, "score": 2.5}
    ]  # fmt: skip
    assert [file.part for file in found.files] == ["train", "train", "validation"]
    assert [file.is_target for file in found.files] == [False, True, True]


def test_a_cell_that_says_na_is_not_known(tmp_path):
    found = source(tmp_path, ROWS.replace("train,,m,7", "train,NA,m,7").replace("f,\n", "f,n/a\n"))
    assert found.attributes == source(tmp_path).attributes
    assert found.files[1].values == {"sex": 1, "score": 7}
    assert found.files[0].values == {"age": 30, "sex": 0}


def test_without_split_subjects_are_split_by_fractions(tmp_path):
    rows = "subject,image,group\n" + "".join(
        f"s{n // 2},{n}.png,{('background', 'target')[n % 2]}\n" for n in range(20)
    )
    files = source(tmp_path, rows, common_attributes=(), salient_attributes=()).files
    assert sum(file.part == "test" for file in files) == 6
    assert len({(file.subject, file.part) for file in files}) == 10


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("subject,image\na,a.png\n", "has no column 'group'"),
        (ROWS.splitlines()[0], "lists no image"),
        (ROWS.replace("b.png,target", "b.png,patient"), "line 3: group is 'patient', expected background or target"),
        (ROWS.replace("val", "later"), "line 4: split is 'later', expected train, val or test"),
        (ROWS.replace("c,c.png", "a,c.png"), "subject 'a' lies in train and validation"),
        ("", "has no column 'subject', expected a line for each image .* Columns: none"),
        (ROWS.replace(",,m,7", ",,m"), "line 3: has 6 cells, expected 7 for the columns subject, image, group"),
        (ROWS.replace("b,b.png", "b,"), "line 3: subject or image is empty, expected both"),
        (
            ROWS.replace("c.png", "b.png"),
            "line 4: lists the image 'b.png' again, which line 3 lists",
        ),
        (ROWS.replace("c.png", "./x/../b.png"), "line 4: lists the image './x/../b.png' again, which line 3 lists"),
    ],
)
def test_wrong_files_are_named(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        _ = source(tmp_path, text).files


def test_a_file_of_excel_is_read_in_utf_8_alone(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text(ROWS.replace("c,c.png", "Zoë,c.png"), encoding="utf-8-sig")
    assert GroupManifestSource(str(path)).files[2].subject == "Zoë"
    path.write_text(ROWS.replace("c,c.png", "Zoë,c.png"), encoding="latin-1")
    with pytest.raises(DataError, match=r"list.csv, line 4: holds the byte 0xeb, expected text in UTF-8"):
        _ = GroupManifestSource(str(path)).files


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="no such file, expected a CSV file that lists images"):
        _ = GroupManifestSource(str(tmp_path / "none.csv")).files


@pytest.mark.parametrize("names", [(("age",), ("age",)), (("age", "age"), ())])
def test_a_column_in_two_roles_is_refused(tmp_path, names):
    with pytest.raises(ValueError, match="'age' is named twice, expected once, as one of both"):
        source(tmp_path, common_attributes=names[0], salient_attributes=names[1])
