"""A stage goes on with the config and the cases that it began with, or says why not."""

import json
import shutil
from types import SimpleNamespace

import pytest

from medgraph.errors import CheckpointError, DataError
from medgraph.runner import begun


@pytest.fixture
def data(tmp_path):
    """Three images of a folder."""
    files = []
    for name in "abc":
        (tmp_path / f"{name}.png").write_bytes(b"x")
        files.append(SimpleNamespace(path=tmp_path / f"{name}.png", part="train"))
    return SimpleNamespace(files=files)


def test_the_same_cases_go_on_and_others_are_refused_with_their_number(tmp_path, data):
    folder = tmp_path / "pretrain"
    begun.begin(folder, "abc")
    begun.keep_to_cases(folder, data)
    assert begun.digest_begun(folder) == "abc"
    begun.keep_to_cases(folder, data)
    less = SimpleNamespace(files=data.files[1:])
    with pytest.raises(DataError, match=r"begun\.json: stage pretrain began with 3 cases, and there are 2 now.*--out"):
        begun.keep_to_cases(folder, less)
    (tmp_path / "b.png").write_bytes(b"another")
    with pytest.raises(DataError, match="began with 3 cases, and there are as many now, but other ones"):
        begun.keep_to_cases(folder, data)
    shutil.rmtree(folder)  # as the message says
    begun.begin(folder, "abc")
    begun.keep_to_cases(folder, less)


def test_a_folder_from_before_takes_the_cases_of_now(tmp_path, data):
    (tmp_path / "begun.json").write_text('{"digest": "abc"}')
    begun.keep_to_cases(tmp_path, data)
    assert json.loads((tmp_path / "begun.json").read_text())["cases"]["count"] == 3
    with pytest.raises(DataError, match="3 cases"):
        begun.keep_to_cases(tmp_path, SimpleNamespace(files=data.files[1:]))


def test_nothing_is_noted_where_nothing_began_or_data_name_no_cases(tmp_path, data):
    begun.keep_to_cases(tmp_path, data)
    assert not (tmp_path / "begun.json").exists()
    assert begun.digest_begun(tmp_path) is None
    begun.begin(tmp_path, "abc")
    begun.keep_to_cases(tmp_path, SimpleNamespace())
    assert json.loads((tmp_path / "begun.json").read_text()) == {"digest": "abc"}


def test_a_broken_note_is_told_and_nothing_is_thrown_away(tmp_path):
    (tmp_path / "begun.json").write_text('{"dig')
    with pytest.raises(CheckpointError, match=r"begun\.json: expected JSON .* Remove .* to run the stage anew"):
        begun.digest_begun(tmp_path)
