import pytest

from medgraph.errors import DataError
from medgraph.evaluation.arm_table import arm_table, main
from medgraph.evaluation.scores import Scores


@pytest.fixture
def runs(tmp_path):
    folders = []
    for name, value in (("full-s1", 0.5), ("full-s2", 0.7), ("plain-s1", 0.2)):
        folder = tmp_path / name
        (folder / "pretrain").mkdir(parents=True)
        rows = [{"case": "digit", "label": "common", "score": value}]
        rows += [{"case": "digit", "label": "single", "score": value}] if "plain" in name else []
        Scores(rows).to_json(folder / "pretrain" / "scores.json")
        folders.append(folder)
    return folders


def test_arms_are_columns_with_mean_and_spread_over_seeds(runs, capsys):
    main([str(folder) for folder in runs])
    assert capsys.readouterr().out.splitlines() == [
        "| case | label | full (2) | plain (1) |",
        "|---|---|---:|---:|",
        "| digit | common | 0.600 ± 0.141 | 0.200 |",
        "| digit | single |  | 0.200 |",
    ]


def test_unfinished_and_misnamed_runs_are_named(runs, tmp_path):
    (runs[0] / "pretrain" / "scores.json").unlink()
    with pytest.raises(DataError, match="holds 0 files scores"):
        arm_table(runs)
    with pytest.raises(DataError, match="expected a run folder called <arm>-s<seed>"):
        arm_table([tmp_path / "digits"])
