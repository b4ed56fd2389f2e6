"""Names resolve to files: an existing path first, then the checkout or the install."""

import pytest

from medgraph import shipped
from medgraph.errors import ConfigError


def test_checkout_is_looked_at_first(tmp_path, monkeypatch):
    monkeypatch.setattr(shipped, "_PACKAGE", tmp_path / "medgraph")
    assert shipped.folder("configs") == tmp_path / "medgraph" / "_shipped" / "configs"
    (tmp_path / "configs").mkdir()
    assert shipped.folder("configs") == tmp_path / "medgraph" / "_shipped" / "configs"
    (tmp_path / "pyproject.toml").touch()
    assert shipped.folder("configs") == tmp_path / "configs"


def test_existing_path_wins_over_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quickstart").touch()
    assert str(shipped.pipeline_path("quickstart")) == "quickstart"


def test_unknown_names_and_missing_files_are_told():
    with pytest.raises(ConfigError, match="no pipeline is called 'quikstart'; did you mean 'quickstart'"):
        shipped.pipeline_path("quikstart")
    with pytest.raises(ConfigError, match=r"mine\.yaml: expected a pipeline file, but there is no such file"):
        shipped.pipeline_path("mine.yaml")


def test_own_configs_win_over_shipped_ones(tmp_path):
    pipeline = tmp_path / "pipelines" / "x.yaml"
    assert shipped.config_path("quickstart/pretrain.yaml", pipeline).parent.parent == shipped.folder("configs")
    own = tmp_path / "configs" / "quickstart" / "pretrain.yaml"
    own.parent.mkdir(parents=True)
    own.touch()
    assert shipped.config_path("quickstart/pretrain.yaml", pipeline) == own.resolve()
    assert shipped.config_path("nowhere.yaml", pipeline) is None
