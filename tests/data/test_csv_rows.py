"""Tables as spreadsheets write them are read, or refused with the line that is wrong."""

import pytest

from medgraph.data.csv_rows import check_rows, read_rows
from medgraph.errors import DataError


def rows_of(folder, raw):
    (folder / "a.csv").write_bytes(raw)
    return read_rows(folder / "a.csv")


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_rows_are_known_by_the_lines_they_begin_on(tmp_path, ending, encoding):
    lines = ["a,b", "é,1", "", '"x,', 'y",', "z,2,,"]
    columns, rows = rows_of(tmp_path, ending.join(lines).encode(encoding))
    assert columns == ["a", "b"]
    assert rows == {2: {"a": "é", "b": "1"}, 4: {"a": f"x,{ending}y", "b": ""}, 6: {"a": "z", "b": "2"}}


def test_an_empty_file_has_no_columns(tmp_path):
    assert rows_of(tmp_path, b"") == ([], {})


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("a,b\nx,1\né,2\n".encode("latin-1"), "a.csv, line 3: holds the byte 0xe9, expected text in UTF-8. Save the"),
        ("a,b\n".encode("utf-16"), "line 1: holds the byte 0xff, expected text in UTF-8"),
        (b"a,b\nx,1\nx\n", "line 3: has 1 cells, expected 2 for the columns a, b. Leave a cell empty"),
        (b"a,b\nx,1,5\n", "line 2: has 3 cells, expected 2"),
        (b'a,b\nx,1\n"x,2\n', r"line 3: not a row of CSV \(unexpected end of data\). Mend its quotes"),
        (b"a;b\nx;1\n", "line 1: cells are set apart by ';', expected ','. Save it"),
        (b"a,b,a\n1,2,3\n", "line 1: has the column 'a' twice, expected each once"),
    ],
)
def test_what_is_wrong_is_named_by_line(tmp_path, raw, words):
    with pytest.raises(DataError, match=words):
        rows_of(tmp_path, raw)


def test_a_table_of_tabs_is_checked_alike(tmp_path):
    (tmp_path / "a.tsv").write_text("a\tb\n1\t2,5\n")
    check_rows(tmp_path / "a.tsv", "\t")
    (tmp_path / "a.tsv").write_text("a\tb\n1\n")
    with pytest.raises(DataError, match=r"a.tsv, line 2: has 1 cells, expected 2"):
        check_rows(tmp_path / "a.tsv", "\t")
    (tmp_path / "a.tsv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"a.tsv, line 1: cells are set apart by ','"):
        check_rows(tmp_path / "a.tsv", "\t")
