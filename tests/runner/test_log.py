import json

import pytest

from medgraph.errors import CheckpointError
from medgraph.runner.log import MetricsLog, Progress, read_metrics


def steps(folder):
    return [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_resumed_log_repeats_no_step(tmp_path):
    log = MetricsLog(tmp_path)
    for step in range(1, 6):
        log.write(step, {"loss": 1 / step})
    log.close()
    log = MetricsLog(tmp_path, resume_step=3)
    log.write(4, {"loss": 0.0})
    log.close()
    assert steps(tmp_path) == [1, 2, 3, 4]
    assert list((tmp_path / "tensorboard").iterdir())


def test_a_line_cut_off_by_a_kill_is_dropped(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "lo')
    MetricsLog(tmp_path, resume_step=2).close()
    assert steps(tmp_path) == [1]


@pytest.mark.parametrize("line", ["{", "[]", '{"step": "x"}', "null"])
def test_a_line_that_is_no_step_is_named(tmp_path, line):
    (tmp_path / "metrics.jsonl").write_text(f'{{"step": 1, "loss": 2.0}}\n{line}\n')
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl:2: expected the metrics of a step as JSON"):
        MetricsLog(tmp_path, resume_step=2)
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl:2: expected .* Remove this line"):
        read_metrics(tmp_path / "metrics.jsonl")


def test_progress_says_rate_and_waiting(capsys):
    with Progress(2, "toy") as bar:
        for _ in range(2):
            with bar.waiting():
                pass
            bar.update(loss=0.5, examples=8)
    said = " ".join(capsys.readouterr().out.split())
    assert "toy: 2 of 2 steps, loss 0.5000" in said
    assert "examples/s" in said
    assert "waiting" in said


def test_quiet_progress_says_nothing(capsys):
    with Progress(1, "toy", quiet=True) as bar:
        bar.update(loss=0.5, examples=8)
    assert capsys.readouterr().out == ""


def test_a_silent_log_writes_nothing(tmp_path):
    log = MetricsLog(tmp_path, silent=True)
    log.write(1, {"loss": 0.0})
    log.flush()
    log.close()
    assert list(tmp_path.iterdir()) == []
