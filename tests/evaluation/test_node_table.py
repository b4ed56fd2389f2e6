import pytest

from medgraph.errors import DataError
from medgraph.evaluation.node_table import main, node_table
from medgraph.evaluation.scores import Scores


def write(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    Scores([{"case": "all", **row} for row in rows]).to_json(path)


@pytest.fixture
def runs(tmp_path):
    folders = [tmp_path / "runs" / name for name in ("meow-s0", "meow-s1", "ada-s0")]
    for folder, value in zip(folders, (90.0, 92.0, 80.0), strict=True):
        probe = {"label": "20", "macro_f1": value, "macro_f1_std": 7.0, "floor_averaged_macro_f1": 60.0}
        write(folder / "probe" / "scores.json", probe)
        write(folder / "probe" / "untrained.json", probe | {"macro_f1": 50.0})
    write(folders[0] / "clusters" / "scores.json", {"label": "all", "nmi": 40.0}, {"label": "all", "nmi": 50.0})
    for name, value in (
        ("pretrained-20-seed0", 70.0),
        ("from-scratch-20-seed0", 30.0),
        ("from-scratch-all-seed1", 40.0),
    ):
        write(folders[2] / "finetune" / name / "scores.json", {"label": "20", "macro_f1": value})
    return folders


def test_what_was_scored_is_a_row_with_mean_and_spread_over_seeds(runs, capsys):
    main([str(folder) for folder in runs])
    assert capsys.readouterr().out.splitlines() == [
        "| run | features | seeds | Macro-F1 20 | NMI |",
        "|---|---|---:|---:|---:|",
        "| meow | trained | 2 | 91.0 ± 1.4 | 45.0 |",
        "| meow | untrained | 2 | 50.0 ± 0.0 |  |",
        "| meow | floor: averaged over meta-paths | 2 | 60.0 ± 0.0 |  |",
        "| ada | trained | 1 | 80.0 |  |",
        "| ada | untrained | 1 | 50.0 |  |",
        "| ada | fine-tuned | 1 | 70.0 |  |",
        "| ada | supervised twin | 1 | 35.0 |  |",
        "| ada | floor: averaged over meta-paths | 1 | 60.0 |  |",
    ]


def test_unfinished_and_misnamed_runs_are_named(runs, tmp_path):
    (tmp_path / "empty-s0").mkdir()
    with pytest.raises(DataError, match="empty-s0: holds no scores of nodes"):
        node_table([tmp_path / "empty-s0"])
    with pytest.raises(DataError, match="expected a run folder called <arm>-s<seed>"):
        node_table([tmp_path / "runs"])


def test_a_folder_without_scores_is_told_without_a_traceback(tmp_path, capsys):
    (tmp_path / "meow-s1").mkdir()
    with pytest.raises(SystemExit) as stopped:
        main([str(tmp_path / "meow-s1")])
    assert stopped.value.code == 2
    assert "holds no scores of nodes" in capsys.readouterr().err
