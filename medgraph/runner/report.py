"""One self-contained HTML page of a run, and its table on the terminal."""

import base64
import io
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from medgraph import files
from medgraph.data.label_counts import labelled_words
from medgraph.evaluation.paired import told
from medgraph.evaluation.scores import Scores, metric

COLOURS = np.array([[0, 0, 0], [230, 97, 1], [52, 138, 189], [94, 201, 98], [170, 51, 119], [238, 204, 102]])

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ title }}</title><style>
body{font:16px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
table{border-collapse:collapse;margin:1rem 0}th,td{padding:.3rem .9rem;border-bottom:1px solid #ccc;text-align:right}
th:first-child,td:first-child,td:nth-child(2),th:nth-child(2),td:nth-child(3),th:nth-child(3){text-align:left}
.verdict{font-size:1.15rem;padding:.8rem 1rem;border-left:4px solid #348abd;background:#f2f6fa}
.overlays{display:grid;grid-template-columns:repeat(auto-fill,minmax(19rem,1fr));gap:1rem}
figure{margin:0}figcaption{font-size:.85rem;color:#555}img{max-width:100%}
.overlays img{image-rendering:pixelated;width:100%}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem}dt{color:#555}dd{margin:0}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#181a1b}.verdict{background:#22303a}
th,td{border-color:#444}figcaption,dt{color:#aaa}.curves img{background:#fff}}
</style></head><body>
<h1>{{ title }}</h1>
{% if verdict %}<p class="verdict">{{ verdict }}</p>{% endif %}
{% if table %}<h2>Scores on the cases kept aside</h2>
<table><thead><tr>{% for name in header %}<th>{{ name }}</th>{% endfor %}</tr></thead><tbody>
{% for row in table %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</tbody></table>
<p>Difference: first minus second, paired over {{ over }}, with its 95 % interval: by bootstrap of 10 or more cases,
by Student's t of fewer and of seeds, none of fewer than 3.</p>
{% for plot in learning %}<figure class="curves"><img alt="{{ plot.title }}" src="data:image/png;base64,{{ plot.png }}">
<figcaption>{{ plot.title }}: mean over seeds, a point for each seed.</figcaption></figure>
{% endfor %}{% endif %}
{% if overlays %}<h2>Prediction and truth</h2>
<p>Of each volume, of the first ones where there are many, the slice that holds most truth, from the pretrained arm:
the slice, the truth, the prediction.</p><div class="overlays">
{% for overlay in overlays %}<figure><img alt="{{ overlay.case }}" src="data:image/png;base64,{{ overlay.png }}">
<figcaption>{{ overlay.case }}</figcaption></figure>
{% endfor %}</div>{% endif %}
{% for scores in score_tables %}<h2>{{ scores.title }}</h2>
<table><thead><tr>{% for name in scores.header %}<th>{{ name }}</th>{% endfor %}</tr></thead><tbody>
{% for row in scores.rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</tbody></table>
{% for figure in scores.figures %}<figure class="curves"><img alt="{{ figure.title }}"
src="data:image/png;base64,{{ figure.png }}"><figcaption>{{ figure.title }}</figcaption></figure>
{% endfor %}{% endfor %}
{% if curves %}<h2>Curves</h2>
<p class="curves"><img alt="training curves" src="data:image/png;base64,{{ curves }}"></p>
{% endif %}
<h2>How it was made</h2>
<dl>{% for name, value in facts.items() %}<dt>{{ name }}</dt><dd>{{ value }}</dd>{% endfor %}</dl>
</body></html>
"""

_ANY_WIDTH = 10_000  # of a terminal: more than any table asks for
MANY = 24  # cases; more are not listed one by one on the terminal
HEADER = ("labelled", "label", "metric", "first and second", "first", "second", "difference [95 % interval]")


def write_report(
    folder: Path,
    title: str,
    curves: dict[str, list[tuple[int, float]]],
    table: list[dict[str, Any]],
    overlays: list[dict[str, Any]],
    verdict: str,
    facts: dict[str, Any],
    scores: dict[str, Scores] | None = None,
) -> Path:
    """Write `report.html` into the run folder: no link leaves it, every picture is inside.

    Args:
        folder: Run folder.
        title: Heading.
        curves: Points (step, value) by "stage: metric".
        table: Rows of a compare stage.
        overlays: `Scores.overlays` of the arm that is shown.
        verdict: One sentence per comparison.
        facts: Versions, seed, overrides: shown at the end.
        scores: Of each train or evaluate stage that names an evaluator, shown row by row with its figures.
    """
    page = jinja2.Environment(autoescape=True).from_string(PAGE)
    text = page.render(
        title=title,
        verdict=verdict,
        header=HEADER,
        over=" and ".join(sorted({row["over"] for row in table})),
        table=[_cells(row) for row in table],
        learning=learning_curves(table),
        overlays=[{"case": o["case"], "png": _overlay_png(o)} for o in overlays],
        curves=_curves_png(curves) if curves else "",
        facts=facts,
        score_tables=[_score_table(name, found) for name, found in (scores or {}).items()],
    )
    path = folder / "report.html"
    with files.whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def print_table(table: list[dict[str, Any]], console: Console) -> None:
    """The rows of a compare stage on the terminal, within 80 columns; one table for each number of labels and pair."""
    for stage, labelled, first, second in dict.fromkeys(_place(row) for row in table):
        shown = Table(
            title=f"{stage}: cases kept aside, {labelled_words(labelled)} labelled for training",
            box=box.SIMPLE_HEAD,
            padding=(0, 1, 0, 0),
        )
        names = ("label", "metric", first, second.removeprefix("from "), "difference [95 % interval]")
        for index, name in enumerate(names):
            shown.add_column(name, justify="left" if index < 2 else "right")
        for row in table:
            if _place(row) == (stage, labelled, first, second):
                label, title, _, *numbers = _cells(row)[1:]
                shown.add_row(label, title, *numbers)
        console.print(shown)


def learning_curves(table: list[dict[str, Any]]) -> list[dict[str, str]]:
    """A plot over numbers of labels for each compare stage that has several: its chief metric, a line for each arm."""
    plots = []
    for stage in dict.fromkeys(row["stage"] for row in table):
        rows = [row for row in table if row["stage"] == stage and row["chief"]]
        counts = list(dict.fromkeys(row["num_labelled"] for row in rows))
        if len(counts) < 2:
            continue
        values: dict[str, dict[Any, list[float]]] = {}
        for row in rows:
            for arm, of_seeds in zip(row["arms"], zip(*row["seeds"], strict=True), strict=True):
                values.setdefault(arm, {})[row["num_labelled"]] = list(of_seeds)
        title = metric(rows[0]["metric"]).title
        plots.append({"title": f"{stage}: {title} over labelled cases", "png": _learning_png(values, counts, title)})
    return plots


def _place(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["stage"], row["num_labelled"], *row["arms"]


def _learning_png(values: dict[str, dict[Any, list[float]]], counts: list[Any], title: str) -> str:
    figure = Figure(figsize=(5.2, 3.4), layout="constrained")
    axes = figure.add_subplot()
    for number, (arm, by_count) in enumerate(values.items()):
        colour = f"C{number}"
        means = [sum(by_count[count]) / len(by_count[count]) for count in counts]
        axes.plot(range(len(counts)), means, color=colour, marker="o", label=arm, linewidth=1.2)
        for place, count in enumerate(counts):
            axes.plot([place] * len(by_count[count]), by_count[count], ".", color=colour, alpha=0.4)
    axes.set_xticks(range(len(counts)), [labelled_words(count) for count in counts])
    axes.set(xlabel="labelled cases", ylabel=title)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return _figure_png(figure)


def print_scores(title: str, scores: Scores, console: Console) -> None:
    """The rows of a train or evaluate stage's scores on the terminal; of many cases, or wide rows, the means."""
    names = scores.metrics()
    if {"low", "high"} <= set(names):  # intervals beside their score; what does not fit 80 columns is in the report
        rows = [
            [row["case"], row["label"], _shown(row[names[0]]) + _bounds(row), _shown(row.get("chance"))]
            for row in scores.rows
        ]
        header = ["case", "label", f"{names[0]} [95 %]", "chance"]
    else:
        header, rows = ["case", "label", *names], _score_rows(scores)
    shown = Table(title=title, box=box.SIMPLE)
    for index, name in enumerate(header):
        shown.add_column(name, justify="left" if index < 2 else "right", no_wrap=index != 1)
    for cells in rows:
        shown.add_row(*cells)
    is_wide = Measurement.get(console, console.options.update(max_width=_ANY_WIDTH), shown).minimum > console.width
    if is_wide or len({row["case"] for row in scores.rows}) > MANY:
        intervals = scores.intervals()
        for name, value in scores.summary().items():
            console.print(f"  {title}, {name}: {value:.4f}{_between(intervals.get(name), 4)}")
        return
    console.print(shown)


def _bounds(row: dict[str, Any]) -> str:
    known = row.get("low") is not None and row.get("high") is not None
    return _between((row["low"], row["high"]), 2) if known else ""


def _score_table(title: str, scores: Scores) -> dict[str, Any]:
    header = ["case", "label", *scores.metrics()]
    return {"title": f"Scores of {title}", "header": header, "rows": _score_rows(scores), "figures": scores.figures}


def _score_rows(scores: Scores) -> list[list[str]]:
    """A row for each case and label and, with intervals over cases, for the mean of each label."""
    names, intervals, summary = scores.metrics(), scores.intervals(), scores.summary()
    if scores.per_case:
        return [_with_intervals(row["case"], row["label"], names, row, intervals) for row in scores.rows]
    rows = [[row["case"], row["label"], *(_shown(row.get(name)) for name in names)] for row in scores.rows]
    for label in dict.fromkeys(row["label"] for row in scores.rows) if intervals else ():
        means = {name: summary[f"{label} {name}"] for name in names if f"{label} {name}" in summary}
        rows.append(_with_intervals("mean", label, names, means, intervals))
    return rows


def _with_intervals(
    case: str, label: str, names: list[str], values: dict[str, Any], intervals: dict[str, tuple[float, float]]
) -> list[str]:
    shown = [_shown(values.get(name)) + _between(intervals.get(f"{label} {name}"), 3) for name in names]
    return [case, label, *shown]


def _between(interval: tuple[float, float] | None, digits: int) -> str:
    return "" if interval is None else f" [{interval[0]:.{digits}f}, {interval[1]:.{digits}f}]"


def _shown(value: float | None) -> str:
    return "" if value is None else str(value) if isinstance(value, int) else f"{value:.3f}"


def _cells(row: dict[str, Any]) -> list[str]:
    shown = metric(row["metric"])
    digits = shown.digits
    values = [f"{row[arm]:.{digits}f}" for arm in ("first", "second")]
    return [
        labelled_words(row["num_labelled"]),
        row["label"],
        shown.title,
        " and ".join(row["arms"]),
        *values,
        told(row["difference"], digits),
    ]


def _overlay_png(overlay: dict[str, Any]) -> str:
    image = np.repeat(np.asarray(overlay["image"], dtype=np.float64)[..., None], 3, axis=2)
    panels = [image] + [_painted(image, np.asarray(overlay[name])) for name in ("truth", "prediction")]
    gap = np.full((len(image), 2, 3), 128.0)
    wide = np.concatenate([panels[0], gap, panels[1], gap, panels[2]], axis=1)
    return _png(np.kron(wide, np.ones((3, 3, 1))).astype(np.uint8))


def _painted(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    colours = COLOURS[np.where(labels > 0, 1 + (labels - 1) % (len(COLOURS) - 1), 0)]
    return np.where(labels[..., None] > 0, 0.5 * image + 0.5 * colours, image)


def _png(pixels: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png")
    return base64.b64encode(buffer.getvalue()).decode()


def _curves_png(curves: dict[str, list[tuple[int, float]]]) -> str:
    metrics: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for name, points in curves.items():
        stage, _, metric = name.rpartition(": ")
        metrics.setdefault(metric, {})[stage] = points
    columns = min(2, len(metrics))
    rows = -(-len(metrics) // columns)
    figure = Figure(figsize=(5.2 * columns, 3.2 * rows), layout="constrained")
    for place, (metric, stages) in enumerate(metrics.items(), start=1):
        axes = figure.add_subplot(rows, columns, place)
        for stage, points in stages.items():
            axes.plot(*zip(*points, strict=True), label=stage, linewidth=1.2)
        axes.set(title=metric.replace("_", " "), xlabel="step")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    return _figure_png(figure)


def _figure_png(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return base64.b64encode(buffer.getvalue()).decode()
