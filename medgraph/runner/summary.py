"""How a run ends: the table, the report page, and the lines that load the encoder."""

from pathlib import Path
from typing import Any

from rich.console import Console

from medgraph.config.schema import Pipeline
from medgraph.data.label_counts import labelled_words
from medgraph.evaluation.scores import Scores, metric
from medgraph.runner.choose import read_choice
from medgraph.runner.compare import FOREIGN, PRETRAINED, SCRATCH, arm_folder, read_table
from medgraph.runner.encoder_folder import read_facts
from medgraph.runner.export import load_encoder
from medgraph.runner.folder import RunFolder, read_environment
from medgraph.runner.kept import told
from medgraph.runner.log import read_metrics
from medgraph.runner.report import print_scores, print_table, write_report

SHOWN = (
    *("loss", "loss_minus_ln_k", "effective_rank", "used_prototypes", "code_entropy"),
    *("common_group_auc", "salient_group_auc", "dependence", "self_share", "above_floor"),
    *("target_norm", "background_norm"),
)  # of metrics.jsonl, in the report


def finish(pipeline: Pipeline, folder: RunFolder, console: Console, seconds: float) -> None:
    """Print every table of the run, write its report page, and say how to load its encoder."""
    table, overlays, verdicts, choices = [], [], [], []
    scores: dict[str, Scores] = {}
    for stage in pipeline.stages.values():
        path = folder.stage(stage.name)
        if stage.choose is not None:
            choices.append(f"{stage.name}: {told(read_choice(path))}.")
        if stage.kind == "compare":
            rows = read_table(path / "table.json")
            table += rows
            verdicts += [verdict(row) for row in rows if row["chief"]]
            last = (stage.compare.num_labelled[-1], pipeline.seed + stage.compare.seeds[0])
            overlays += Scores.from_json(arm_folder(path, PRETRAINED, *last) / "scores.json").overlays
        elif stage.evaluator is not None:
            scores[stage.name] = Scores.from_json(path / "scores.json")
            if stage.kind == "train":  # an evaluate stage has said it, beside the untrained network
                print_scores(stage.name, scores[stage.name], console)
    if table:
        print_table(table, console)
        for line in verdicts:
            console.print(line)
    page = write_report(
        folder.path,
        title=pipeline.name,
        curves=curves(folder.path),
        table=table,
        overlays=overlays,
        verdict=" ".join([*choices, *verdicts]),
        facts={**read_environment(folder.path), "seconds": round(seconds)},
        scores=scores,
    )
    console.print(f"Report: {page}")
    encoders = [folder.encoder(s.name) for s in pipeline.stages.values() if s.kind == "train"]
    if encoders:
        console.print("Take the encoder away:")
        console.print("  import medgraph, torch")
        console.print(f"  encoder = medgraph.load_encoder({str(encoders[-1])!r})")
        example, dim = example_input(encoders[-1]), load_encoder(encoders[-1]).out_dim
        console.print(f"  features = encoder({example})  # ({1 if example.startswith('torch') else 'targets'}, {dim})")


def verdict(row: dict[str, Any]) -> str:
    """One sentence: whether the first arm did better than the second, and how sure that is."""
    d, shown = row["difference"], metric(row["metric"])
    name = f"mean {shown.title}" if row["label"] == "mean" else shown.title
    lead, arms = f"With {labelled_words(row['num_labelled'])} labelled", " and ".join(row["arms"])
    steady = _over_seeds(row["seeds"], d["mean"])
    if d["low"] is None:
        few = f"1 {row['over'].removesuffix('s')} gives" if d["n"] == 1 else f"{d['n']} {row['over']} give"
        why = f"because {few} no interval"
        return f"{lead}, {arms}, no difference can be claimed, {why}: {name} {d['mean']:+.4f}{steady}."
    sure = f"{name} {d['mean']:+.4f}, 95 % interval [{d['low']:+.4f}, {d['high']:+.4f}] over {d['n']} {row['over']}"
    sure += steady
    if d["low"] <= 0 <= d["high"]:
        return f"{lead}, {arms}, no difference can be claimed: {sure}."
    better = (d["low"] > 0) != shown.lower_is_better
    return f"{lead} {_WORDS[tuple(row['arms'])][0 if better else 1]}: {sure}."


_WORDS = {
    (PRETRAINED, SCRATCH): ("pre-training helped", "pre-training hurt"),
    (PRETRAINED, FOREIGN): ("pre-training was better than the foreign encoder", "the foreign encoder was better"),
    (FOREIGN, SCRATCH): ("the foreign encoder helped", "the foreign encoder hurt"),
}


def _over_seeds(pairs: list[list[float]], mean: float) -> str:
    """How steady a difference is: the interval over cases knows nothing of another seed."""
    if len(pairs) == 1:
        return ", one seed"
    alike = sum((first - second) * mean > 0 for first, second in pairs)
    return f", in the same direction with {alike} of {len(pairs)} seeds"


def curves(run: Path) -> dict[str, list[tuple[int, float]]]:
    """Every shown metric of every metrics.jsonl below the run folder, as (step, value) points."""
    found: dict[str, list[tuple[int, float]]] = {}
    for path in sorted(run.rglob("metrics.jsonl")):
        where = str(path.parent.relative_to(run))
        for record in read_metrics(path):
            for name in SHOWN:
                if name in record:
                    found.setdefault(f"{where}: {name}", []).append((record["step"], record[name]))
    return found


def example_input(encoder: Path) -> str:
    """A call that makes an input of the right shape for an exported encoder."""
    spec = read_facts(encoder)["spec"]
    if "target_type" in spec:
        return "data.views"  # of the stage's data, e.g. MetapathViews(SampleGraph())
    shape = [1, *spec.get("num_slices", [])[:1], spec["channels"], *spec["size"]]  # of volumes, slices come second
    return f"torch.zeros({', '.join(map(str, shape))})"
