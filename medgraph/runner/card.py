"""The model card of an encoder: what it is, what it was trained on and how, what it scored, what it is not for."""

import inspect
import json
import re
from pathlib import Path
from typing import Any

from medgraph import catalogue
from medgraph.config.schema import Pipeline
from medgraph.data.label_counts import labelled_words
from medgraph.evaluation.scores import Scores, metric
from medgraph.runner.compare import read_table
from medgraph.runner.encoder_folder import read_facts
from medgraph.runner.folder import RunFolder
from medgraph.runner.kept import told

CARD = "README.md"
_TAGS = "---\nlicense: LICENCE\nlibrary_name: medgraph\ntags: [KIND, self-supervised, contrastive]\n---\n"
_USE = """```python
encoder = medgraph.load_encoder("this folder")
features = encoder(encoder.preprocess("image.nii.gz"))
```"""
_USE_GRAPH = """```bash
medgraph embed THIS_FOLDER --out features/
```"""
_USE_ANOTHER = """```bash
medgraph embed THIS_FOLDER --out features/                            # the graph that it was trained on
medgraph embed THIS_FOLDER --out features/ --data KEY=DIR             # another one of the same types and columns
```"""
_LIMITS = """- A research model. It is no medical device and must not guide the care of a patient.
- It saw the data above and nothing else: OTHERS are untested.
- Whatever is unevenly present in those data is unevenly present in its features; check this before you use them.
"""
_OTHERS = ("other scanners, protocols, organs, ages or species", "other graphs, cohorts or times")
_KNOWN = "- Input must be prepared as in training; `encoder.preprocess(path)` does that."
_KNOWN_GRAPH = "- Input must be prepared as in training; `medgraph embed` does that."
_UNPREPARED = (
    "- Input must be prepared as in training; how that was is not recorded here, so ask where the weights come from."
)
_CODE = "- Code: Apache-2.0."
_UNKNOWN = """- Data: not recorded. The weights come under what the owners of the data demand: look it up before you
  hand them on. A source takes `licence`, and a file LICENSE beside the data is read."""
_CREATIVE = re.compile(r"CC[- ]BY(?:[- ](?:NC|ND|SA))*[- ]\d\.\d|CC0(?:[- ]1\.0)?", re.IGNORECASE)


def write_cards(pipeline: Pipeline, folder: RunFolder) -> None:
    """Write the card of every encoder of a run, with the scores that are there by now."""
    for encoder in sorted(folder.path.glob("*/encoder")) + sorted(folder.path.glob("*/*/encoder")):
        facts = read_facts(encoder)
        choice = facts["facts"].get("choice")
        metrics = [f"- Of several candidates {told(choice)}."] if choice else []
        metrics += _scores(encoder.parent / "scores.json")
        for stage in pipeline.stages.values():
            if stage.start_from is not None and folder.encoder(stage.start_from) == encoder:
                metrics += _scores(folder.stage(stage.name) / "scores.json")
                metrics += _verdict(stage.name, folder.stage(stage.name) / "table.json")
        (encoder / CARD).write_text(card(facts, metrics), encoding="utf-8")


def card(facts: dict[str, Any], metrics: list[str]) -> str:
    """The card as markdown.

    Args:
        facts: What `encoder.json` holds.
        metrics: Lines of a list: what was measured.
    """
    told, spec = facts["facts"], facts["spec"]
    nodes = [("encoders", facts["encoder"])] + ([("methods", told["method"])] if told.get("method") else [])
    parts = [part for kind, node in nodes for part in _parts(kind, node)]
    data, is_graph = told.get("data"), "target_type" in spec
    settings = {"encoder": facts["encoder"], "method": told.get("method"), "data": data, "seed": told.get("seed")}
    sections = {
        "Data": _data(data, spec, told),
        "Method": "\n\n".join(_explained(kind, name) for kind, name in _unique(parts)),
        "Settings": f"```json\n{json.dumps(settings, indent=2)}\n```",
        "Metrics": "\n".join(metrics) or "None were measured in this run.",
        "Limits": _LIMITS.replace("OTHERS", _OTHERS[is_graph]) + _prepared(data, is_graph),
        "Citations": "\n".join(f"- {line}" for line in _citations(parts)) or "None of its parts names a paper.",
        "Licence": _licence(told.get("licences") or []),
    }
    title = f"# {facts['encoder']['name']} encoder of {told.get('pipeline', 'medgraph')}, stage {told.get('stage')}"
    body = "\n\n".join(f"## {name}\n\n{text}" for name, text in sections.items())
    kind = "graph, heterogeneous-graph" if is_graph else "medical-imaging"
    tags = _TAGS.replace("LICENCE", _short(told.get("licences") or [])).replace("KIND", kind)
    use = _use_of_graph(data) if is_graph else _use_of_images(data)
    return f"{tags}\n{title}\n\nWritten by medgraph {facts['medgraph']}.\n\n{use}\n\n{body}\n"


def _prepared(data: dict[str, Any] | None, is_graph: bool) -> str:
    if data is None:
        return _UNPREPARED
    return _KNOWN_GRAPH if is_graph else _KNOWN


def _use_of_images(data: dict[str, Any] | None) -> str:
    return _USE if data is not None else _USE.replace('encoder.preprocess("image.nii.gz")', "images")


def _use_of_graph(data: dict[str, Any] | None) -> str:
    """How to embed the graph, and another one where the source reads files."""
    place, node = "", data or {}
    if node.get("name") == "joined_views":
        node = node["data"][0]  # what is changed is changed in all of them
    while place.rpartition(".")[2] not in ("root", "path"):
        key = next((key for key in ("graph_data", "source", "root", "path") if node.get(key)), None)
        if key is None:
            return _USE_GRAPH
        place, node = f"{place}.{key}".lstrip("."), node[key]
    return _USE_ANOTHER.replace("KEY", place)


def _licence(found: list[str]) -> str:
    if not found:
        return f"{_CODE}\n{_UNKNOWN}"
    named = "\n".join(f"- Data: {licence}" for licence in found)
    return f"{_CODE}\n{named}\n- Weights: derived from these data; what their licence demands goes with them."


def _short(found: list[str]) -> str:
    """The licence as Hugging Face's hub spells it, where there is one that it knows."""
    match = _CREATIVE.search(found[0]) if len(found) == 1 else None
    if match is None:
        return "other"
    word = match.group().lower().replace(" ", "-")
    return "cc0-1.0" if word.startswith("cc0") else word


def _data(node: dict[str, Any] | None, spec: dict[str, Any], told: dict[str, Any]) -> str:
    name = "not recorded" if node is None else f"`{node['name']}`"
    lines = [f"- Part: {name}"]
    if "spatial_dims" in spec:
        size = " x ".join(map(str, spec["size"]))
        count = spec["num_examples"]
        seen = f"{count} training examples in" if count else "Training examples not recorded; adopted for images in"
        lines += [f"- {seen} {spec['spatial_dims']}D, {spec['channels']} x {size}"]
        lines += [f"- Classes: {', '.join(spec['classes'])}"] if spec["classes"] else []
    else:
        lines += [f"- {sum(spec['node_counts'].values())} nodes, of which {spec['target_type']} are embedded"]
    if "pseudo_labelled" in told:
        lines += [
            f"- Self-training, rounds: {told['rounds']}; volumes that a network labelled: {told['pseudo_labelled']}"
        ]
    found = told.get("fingerprint")
    if found:
        lines += [f"- Files of all splits: {found['num_files']}, sha256 `{found['sha256']}`"]
    graph = told.get("graph")
    if graph:
        lines += [f"- Nodes, features and edges: sha256 `{graph['sha256']}`"]
    if not found and not graph:
        lines += ["- Hash: none, as the data are not files that the run could name"]
    return "\n".join(lines)


def _parts(kind: str, node: dict[str, Any]) -> list[tuple[str, str]]:
    """(kind, name) of a part and of all parts inside."""
    found = [(kind, node["name"])]
    for key, value in node.items():
        inner = catalogue.kind_of_key(key)
        for item in value if isinstance(value, list) else [value]:
            if inner is not None and isinstance(item, dict) and "name" in item:
                found += _parts(inner, item)
    return found


def _unique(parts: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return list(dict.fromkeys(parts))


def _doc(kind: str, name: str) -> str:
    return inspect.getdoc(catalogue.find(kind, name)) or ""


def _explained(kind: str, name: str) -> str:
    first = _doc(kind, name).partition("\n\n")[0].replace("\n", " ")
    return f"**{name}** ({kind}): {first}"


def _citations(parts: list[tuple[str, str]]) -> list[str]:
    """Paragraphs of the docstrings that begin with a number in brackets, and authors with a year in brackets."""
    found = []
    for kind, name in _unique(parts):
        for paragraph in _doc(kind, name).split("\n\n"):
            text = " ".join(paragraph.split())
            if text.startswith("["):
                found += [cited.strip() for cited in re.findall(r"\[\d+\]\s+([^\[]+(?:\[(?!\d+\]\s)[^\[]*)*)", text)]
            found += [cited for cited in re.findall(r"\(([^()]*et al\.,[^()]*\d{4}[^()]*)\)", text)]
    return list(dict.fromkeys(found))


def _scores(path: Path) -> list[str]:
    if not path.exists():
        return []
    scores = Scores.from_json(path)
    intervals = scores.intervals()
    return [
        f"- {path.parent.name}: {name} {value:.4f}{_told(intervals.get(name))}"
        for name, value in scores.summary().items()
    ]


def _told(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f" (95 % interval over cases {interval[0]:.4f} to {interval[1]:.4f})"


def _verdict(stage: str, path: Path) -> list[str]:
    lines = []
    for row in read_table(path) if path.exists() else []:
        gain = row["difference"]
        labelled = labelled_words(row["num_labelled"])
        interval = "no interval" if gain["low"] is None else f"{gain['low']:+.4f} to {gain['high']:+.4f}"
        lines.append(
            f"- {stage}, {labelled} labelled, {row['label']}, {metric(row['metric']).title}: "
            f"{row['first']:.4f} {row['arms'][0]}, {row['second']:.4f} {row['arms'][1]}; difference "
            f"{gain['mean']:+.4f} ({interval}, {gain['n']} {row['over']})"
        )
    return lines
