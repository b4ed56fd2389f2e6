import base64
import shutil
import subprocess

import numpy as np
import pytest
from matplotlib.figure import Figure
from rich.console import Console

from medgraph.evaluation.scores import Scores
from medgraph.runner.report import learning_curves, print_scores, print_table, write_report

DIFFERENCE = {"mean": 0.021, "low": 0.011, "high": 0.032, "n": 2}
SEEDS = {"pretrained": [0.81, 0.79], "foreign": [0.75, 0.74], "from scratch": [0.7, 0.7]}
TABLE = [
    {
        "stage": "verdict",
        "num_labelled": labelled,
        "arms": [first, second],
        "label": "front",
        "metric": metric,
        "first": 0.8,
        "second": 0.7,
        "seeds": [list(pair) for pair in zip(SEEDS[first], SEEDS[second], strict=True)],
        "difference": DIFFERENCE,
        "over": "cases",
        "chief": metric == "dice",
    }
    for labelled in (4, "all")
    for first, second in (("pretrained", "foreign"), ("pretrained", "from scratch"), ("foreign", "from scratch"))
    for metric in ("dice", "hd95")
]


def page(folder):
    square = np.zeros((16, 16), dtype=int)
    square[4:9, 4:9] = 2
    overlay = {
        "case": "case <1>",
        "image": (square * 100).tolist(),
        "truth": square.tolist(),
        "prediction": square.tolist(),
    }
    curves = {"pretrain: loss": [(1, 3.0), (2, 2.5)], "verdict/pretrained: loss": [(1, 1.0), (2, 0.5)]}
    return write_report(folder, "quickstart", curves, TABLE, [overlay] * 3, "It helped.", {"seed": 31})


def test_the_page_needs_nothing_else(tmp_path):
    text = page(tmp_path).read_text()
    assert "http" not in text
    assert "case &lt;1&gt;" in text
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.slow
def test_a_browser_shows_table_and_pictures(tmp_path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium on this machine")
    path = page(tmp_path)
    script = "<script>document.title=[...document.images].map(i=>i.complete&&i.naturalWidth>0).join()</script>"
    path.write_text(path.read_text().replace("</body>", f"{script}</body>"))
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    command = [browser, *flags, f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=2000", "--dump-dom"]
    dom = subprocess.run([*command, path.as_uri()], capture_output=True, text=True, timeout=60, check=True).stdout
    assert "<title>true,true,true,true,true</title>" in dom
    assert dom.count("<tr>") == 13
    assert "+0.0210 [+0.0110, +0.0320]" in dom


def test_a_learning_curve_has_a_line_for_each_arm(monkeypatch):
    drawn = {}

    def keep(values, counts, title):
        drawn.update(values=values, counts=counts, title=title)
        return "png"

    monkeypatch.setattr("medgraph.runner.report._learning_png", keep)
    assert learning_curves(TABLE) == [{"title": "verdict: Dice over labelled cases", "png": "png"}]
    assert drawn["counts"] == [4, "all"]
    assert drawn["values"] == {arm: {4: values, "all": values} for arm, values in SEEDS.items()}
    assert learning_curves([row for row in TABLE if row["num_labelled"] == 4]) == []


def test_a_learning_curve_names_numbers_shares_and_all():
    table = [{**row, "num_labelled": 0.1 if row["num_labelled"] == 4 else "all"} for row in TABLE]
    ticks = []

    class Kept(Figure):
        def savefig(self, *arguments, **settings):
            ticks.extend(label.get_text() for label in self.axes[0].get_xticklabels())
            return super().savefig(*arguments, **settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("medgraph.runner.report.Figure", Kept)
        (plot,) = learning_curves(table)
    assert ticks == ["10 %", "all"]
    assert base64.b64decode(plot["png"]).startswith(b"\x89PNG")


def test_figures_of_a_whole_part_and_means_over_cases_have_intervals(capsys):
    whole = Scores.of_whole("all", ["a", "b", "c"], {"auc": np.array([0.5, 0.6, 0.7])})
    print_scores("classify", whole, Console(width=80))
    assert "0.600 [0.352, 0.848]" in capsys.readouterr().out
    cases = Scores(
        [{"case": case, "label": "front", "dice": value} for case, value in (("a", 0.5), ("b", 0.6), ("c", 0.7))]
    )
    print_scores("segment", cases, Console(width=80))
    assert "0.600 [0.352, 0.848]" in capsys.readouterr().out


def test_the_terminal_shows_all_arms(capsys):
    print_table(TABLE, Console(width=80))
    said = capsys.readouterr().out
    assert all(len(line.rstrip()) <= 80 for line in said.splitlines())
    assert "+0.0210 [+0.0110, +0.0320]" in said
    assert "scratch" in said


def test_a_difference_without_interval_is_told_in_table_and_page(tmp_path, capsys):
    table = [{**row, "difference": {"mean": 0.1, "low": None, "high": None, "n": 1}, "over": "seeds"} for row in TABLE]
    print_table(table, Console(width=120))
    assert "+0.1000, 1 pair: no interval" in capsys.readouterr().out
    text = write_report(tmp_path, "quickstart", {}, table, [], "", {}).read_text()
    assert "+0.1000, 1 pair: no interval" in text


def test_scores_too_wide_for_the_terminal_are_averaged_and_lose_no_label(capsys):
    metrics = ("dice", "hd95", "surface_dice", "volume_error")
    rows = [
        {"case": case, "label": label, **dict.fromkeys(metrics, value)}
        for case, value in (("hippocampus_001", 0.2), ("hippocampus_002", 0.3), ("hippocampus_003", 0.4))
        for label in ("Anterior", "Posterior")
    ]
    print_scores("segment", Scores(rows), Console(width=80))
    said = capsys.readouterr().out
    assert "segment, Posterior surface_dice: 0.3000 [" in said
    assert "…" not in said
    print_scores("segment", Scores(rows), Console(width=200))
    said = capsys.readouterr().out
    assert "hippocampus_002" in said
    assert "Posterior" in said


def test_scores_of_many_cases_are_averaged(capsys):
    rows = [{"case": f"c{index}", "label": "front", "recall": index / 30} for index in range(31)]
    print_scores("content", Scores(rows[:3]), Console(width=80))
    assert "c2" in capsys.readouterr().out
    print_scores("content", Scores(rows), Console(width=80))
    assert "content, front recall: 0.5000 [" in (said := capsys.readouterr().out)
    assert "c2" not in said
