"""The wheel alone, in a folder of its own, lists and shows its pipelines from an empty folder."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The built wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", str(ROOT), "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder))
    return next(folder.glob("*.whl"))


def pip(*arguments: str) -> None:
    """Run pip without a network."""
    command = [sys.executable, "-m", "pip", *arguments, "--quiet", "--no-index", "--disable-pip-version-check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_wheel_holds_the_package_its_yaml_and_no_other_top_folder(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"medgraph", "medgraph-0.1.0.dist-info"}
    assert "medgraph/_shipped/pipelines/quickstart.yaml" in names
    assert "medgraph/_shipped/configs/quickstart/pretrain.yaml" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_installed_package_answers_from_an_empty_folder(wheel, tmp_path):
    target, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    pip("install", str(wheel), "--no-deps", "--target", str(target))
    environment = {**os.environ, "PYTHONPATH": str(target)}

    def python(*arguments: str) -> str:
        command = [sys.executable, *arguments]
        done = subprocess.run(command, cwd=empty, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = python("-c", "import medgraph.shipped as s; print(s.__file__, s.folder('pipelines'))")
    assert where.split() == [
        str(target / "medgraph" / "shipped.py"),
        str(target / "medgraph" / "_shipped" / "pipelines"),
    ]
    assert "quickstart" in python("-m", "medgraph", "list")
    assert "kind: compare" in python("-m", "medgraph", "show", "quickstart")
    assert list(empty.iterdir()) == []
