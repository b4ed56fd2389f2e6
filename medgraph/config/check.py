"""Pipeline file -> checked Pipeline: every mistake at once, without importing what the file names."""

import hashlib
import json
import os
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from medgraph import shipped
from medgraph.config import parts, read, signature
from medgraph.config.parts import Findings, check_arguments, check_part, join
from medgraph.config.read import Node
from medgraph.config.schema import NEEDS_START, STAGE_KEYS, Choose, Compare, Pipeline, Smooth, Stage, Train
from medgraph.errors import ConfigError

_PART_KINDS = {"data": "data", "method": "methods", "evaluator": "evaluators"}
_SETTINGS: dict[str, Any] = {"train": Train, "compare": Compare, "choose": Choose}
_CHANGEABLE = ("data", "method", "train")  # what is other in a candidate
_TAKEN = ("encoder", "model")  # folders of a stage beside those of its candidates
_STAGE_KEYS = ("config", "start_from", "set")
_WORD = re.compile(r"[a-z][a-z0-9_]*")


def load(name_or_path: str | Path, overrides: tuple[str, ...] | list[str] = ()) -> Pipeline:
    """The checked pipeline of a shipped name or a file. Raises ConfigError with a line for every mistake.

    Args:
        name_or_path: Name of a shipped pipeline, or path of a pipeline file.
        overrides: Changes as on the command line, `stage.method.loss.temperature=0.2`.
    """
    path = shipped.pipeline_path(name_or_path)
    findings = Findings()
    root = read.read_file(path, findings.errors)
    if isinstance(root.value, dict) and "kind" in root.value and "stages" not in root.value:
        raise ConfigError(f"{root.origin}: this is the config of one stage; name it in a pipeline: stages.x.config.")
    root, files = _inline_configs(root, path, findings)
    root = read.apply_overrides(root, tuple(overrides), lambda keys: _place(root, keys), findings.errors)
    pipeline = _check_pipeline(root, tuple(overrides), files, findings)
    if findings.errors or pipeline is None:
        raise ConfigError("\n".join(parts.once(findings.errors)))
    return pipeline


def config_files(path: Path) -> dict[str, Path]:
    """The config files that a pipeline file names, by the name it uses. Raises ConfigError for one that is missing."""
    found = {}
    for stage in _child(read.read_file(path, []), "stages").values():
        config = _child(stage).get("config")
        if config is not None and isinstance(config.value, str):
            file = shipped.config_path(config.value, path)
            if file is None:
                raise ConfigError(f"{config.origin}: config: no such file: {config.value!r}")
            found[config.value] = file
    return found


def _inline_configs(root: Node, path: Path, findings: Findings) -> tuple[Node, dict[str, str]]:
    """The tree with every config's own tree, changed by `set`, in place of its file name, and the files by stage."""
    files: dict[str, str] = {}
    stages = _child(root, "stages")
    for name, stage in stages.items():
        config = _child(stage).get("config")
        if config is None or not isinstance(config.value, str):
            continue
        file = shipped.config_path(config.value, path)
        try:
            if file is None:
                raise ConfigError(f"{config.origin}: {name}.config: no such file: {config.value!r}")
            tree = read.read_file(file, findings.errors)
            files[name] = read.display(file)
            tree = read.changed(tree, stage.value["set"]) if "set" in stage.value else tree
        except ConfigError as error:
            findings.errors.append(str(error))
            tree = Node(None, "")
        rest = {key: node for key, node in stage.value.items() if key != "set"}
        stages[name] = replace(stage, value={**rest, "config": tree})
    return root, files


def _child(node: Node | None, key: str | None = None) -> dict[str, Node]:
    """The keys below a node, or below one of its keys; none if it is no mapping."""
    value = node.value if node is not None else None
    if not isinstance(value, dict):
        return {}
    return value if key is None else _child(value.get(key))


def _place(root: Node, keys: list[str]) -> list[str]:
    """Where an override belongs in the tree: `stage.key...` stands in that stage's config. Raises ConfigError."""
    stages = _child(root, "stages")
    if keys[0] in stages:
        return ["stages", *keys] if keys[1:] == ["start_from"] else ["stages", keys[0], "config", *keys[1:]]
    if keys in (["name"], ["seed"]):
        return keys
    if keys[0] in ("name", "seed"):
        raise ConfigError(f"{keys[0]!r} has no keys below it; write {keys[0]}=VALUE")
    near = parts.nearest(keys[0], [*stages, "seed", "name"])
    raise ConfigError(f"no stage is called {keys[0]!r}{near}")


def _check_pipeline(
    root: Node, overrides: tuple[str, ...], files: dict[str, str], findings: Findings
) -> Pipeline | None:
    if not isinstance(root.value, dict):
        findings.add(root.origin, "", "expected a pipeline with the keys name, seed, stages")
        return None
    known = ("name", "seed", "stages")
    for key, node in root.value.items():
        if key not in known:
            findings.unknown(node, "", key, known, "a pipeline has no such key")
    for key in known:
        if key not in root.value:
            findings.add(root.origin, "", f"missing key {key!r} of the pipeline")
    name: Any
    seed: Any
    name, seed = (root.value[key].plain() if key in root.value else None for key in ("name", "seed"))
    if "name" in root.value and (not isinstance(name, str) or not re.fullmatch(r"[\w.-]+", name)):
        findings.add(root.value["name"].origin, "name", f"expected letters, digits, dashes, got {name!r}")
    if "seed" in root.value and (type(seed) is not int or not 0 <= seed < 2**31):
        findings.add(root.value["seed"].origin, "seed", f"expected an int from 0 to 2147483647, got {seed!r}")
    _share_data(_child(root, "stages"))
    stages: dict[str, Stage] = {}
    if "stages" in root.value and not _child(root, "stages"):
        findings.add(root.value["stages"].origin, "stages", "expected at least one stage, {config: file.yaml}")
    for stage_name, node in _child(root, "stages").items():
        stage = _check_stage(node, stage_name, [*_child(root, "stages")], files.get(stage_name), findings)
        if stage is not None and not findings.errors:
            stages[stage_name] = replace(stage, digest=_digest(stage, seed, stages))
    return None if findings.errors else Pipeline(name, seed, stages, overrides, findings.origins)


def _share_data(stages: dict[str, Node]) -> None:
    """Give each evaluate stage that names no data those of the stage it starts from."""
    for stage in stages.values():
        config, start = _child(stage).get("config"), _child(stage).get("start_from")
        own, theirs = _child(config), _child(stages.get(str(start.plain())), "config") if start is not None else {}
        scores = "kind" in own and own["kind"].plain() == "evaluate"
        if scores and _absent(own.get("data")) and "data" in theirs:
            own["data"] = theirs["data"]


def _check_stage(node: Node, name: str, order: list[str], file: str | None, findings: Findings) -> Stage | None:
    if not _WORD.fullmatch(name):
        findings.add(node.origin, name, "expected a stage name of small letters, digits and underscores")
    if not isinstance(node.value, dict):
        findings.add(node.origin, name, f"expected {{config: file.yaml}}, got {node.plain()!r}")
        return None
    for key, child in node.value.items():
        if key == "set":
            findings.add(child.origin, name, "'set' changes a config file; this stage names none: change its keys")
        elif key not in _STAGE_KEYS:
            findings.unknown(child, name, key, _STAGE_KEYS, "a stage of a pipeline has no such key")
    config = node.value.get("config")
    start = _check_start(node.value.get("start_from"), name, order, findings)
    if config is None:
        findings.add(node.origin, name, "missing key 'config'")
        return None
    if not isinstance(config.value, dict):
        if config.origin:  # else its file could not be read, which is told already
            findings.add(config.origin, f"{name}.config", "expected a stage with the keys kind, data, ...")
        return None
    kind_node = config.value.get("kind")
    kind = kind_node.plain() if kind_node is not None else None
    if kind_node is None or not isinstance(kind, str) or kind not in STAGE_KEYS:
        got = "missing key 'kind'" if kind_node is None else f"no kind of stage is called {kind!r}"
        near = parts.nearest(str(kind), list(STAGE_KEYS))
        findings.add((kind_node or config).origin, join(name, "kind"), f"{got}{near}")
        return None
    if kind in NEEDS_START and _absent(node.value.get("start_from")):
        findings.add(node.origin, name, f"missing key 'start_from': a stage of kind {kind!r} needs an earlier encoder")
    before = len(findings.errors)
    stage = _stage(config, kind, name, start, file, findings)
    if kind == "compare" and stage.train is not None and stage.train.members > 1:
        text = "arms are compared one network at a time, from compare.seeds; set it to 1"
        findings.add(findings.origins[f"{name}.train.members"], f"{name}.train.members", text)
    if stage.choose is not None and len(findings.errors) == before:  # else each would repeat the stage's mistakes
        stage = replace(stage, candidates=_check_candidates(config, stage, findings))
    return stage


def _stage(config: Node, kind: str, name: str, start: str | None, file: str | None, findings: Findings) -> Stage:
    values = _check_config(config, kind, name, findings)
    keys = ("data", "method", "evaluator", "train", "compare", "choose")
    filled: dict[str, Any] = {key: values.get(key) for key in keys}
    return Stage(name, kind, start, config_path=file, digest="", **filled)


def _check_candidates(config: Node, stage: Stage, findings: Findings) -> dict[str, Stage]:
    """The stages that a train stage chooses from, each with its own changes, called `stage/candidate`."""
    choose = join(stage.name, "choose")
    if stage.evaluator is not None:
        text = "has no effect beside choose; score the chosen encoder in a stage of kind 'evaluate'"
        findings.add(config.value["evaluator"].origin, join(stage.name, "evaluator"), text)
    base = replace(
        config, value={key: node for key, node in config.value.items() if key not in ("choose", "evaluator")}
    )
    found = {}
    for name, changes in _child(config.value["choose"], "candidates").items():
        place = join(join(choose, "candidates"), name)
        if not _WORD.fullmatch(name) or name in _TAKEN:
            text = f"expected a name of small letters, digits and underscores, but not {' or '.join(_TAKEN)}"
            findings.add(changes.origin, place, text)
        others = [key for key in _child(changes) if key.partition(".")[0] not in _CHANGEABLE]
        if others:
            text = f"expected keys below {', '.join(_CHANGEABLE)}, got {others[0]!r}"
            findings.add(changes.value[others[0]].origin, place, text + parts.nearest(others[0], list(_CHANGEABLE)))
            continue
        try:
            tree = read.changed(base, changes, place)
        except ConfigError as error:
            findings.errors.append(str(error))
            continue
        found[name] = _stage(tree, "train", f"{stage.name}/{name}", stage.start_from, stage.config_path, findings)
    return found


def _check_start(node: Node | None, name: str, order: list[str], findings: Findings) -> str | None:
    if node is None or node.value is None:
        return None
    start, earlier = node.plain(), order[: order.index(name)]
    if isinstance(start, str) and "/" in start:
        start = os.path.expanduser(start)
        if not _weights(start):
            findings.add(
                node.origin, f"{name}.start_from", f"expected the folder of an encoder, found none in {start!r}"
            )
        return start
    if start not in earlier:
        where = "it comes later" if start in order and start != name else f"it is not among the stages before {name!r}"
        near = parts.nearest(str(start), earlier)
        findings.add(node.origin, f"{name}.start_from", f"expected an earlier stage, got {start!r}: {where}{near}")
        return None
    return start


def _check_config(config: Node, kind: str, name: str, findings: Findings) -> dict[str, Any]:
    needed, optional = STAGE_KEYS[kind]
    known = ("kind", *needed, *optional)
    for key, node in config.value.items():
        if key not in known:
            findings.unknown(node, name, key, known, f"a stage of kind {kind!r} has no such key")
    values: dict[str, Any] = {}
    for key in (*needed, *optional):
        node = config.value.get(key)
        if node is None or (key in optional and _absent(node)):
            if key in needed:
                findings.add(config.origin, name, f"missing key {key!r}; a stage of kind {kind!r} needs it")
        elif key in _PART_KINDS:
            values[key] = check_part(node, _PART_KINDS[key], join(name, key), findings)
        else:
            values[key] = _check_settings(node, _SETTINGS[key], join(name, key), findings)
    if getattr(values.get("compare"), "foreign", None) is not None:
        values["compare"] = _check_foreign(values["compare"], join(name, "compare"), findings)
    if getattr(values.get("choose"), "smooth", None) is not None:
        ways = _child(config.value["choose"], "smooth")
        smooth = {key: _check_settings(ways[key], Smooth, f"{name}.choose.smooth.{key}", findings) for key in ways}
        values["choose"] = replace(values["choose"], smooth=smooth)
    if kind == "evaluate" and _absent(config.value.get("data")):
        findings.add(config.origin, name, "missing key 'data': there is no earlier stage to take them from")
    return values


def _check_foreign(compare: Compare, path: str, findings: Findings) -> Compare:
    """The settings with the home folder of the foreign encoder's path written out."""
    assert compare.foreign is not None
    foreign = os.path.expanduser(compare.foreign)
    if not _weights(foreign):
        where = join(path, "foreign")
        message = f"expected the folder of an encoder, as `medgraph adopt` writes it, found none in {foreign!r}"
        findings.add(findings.origins[where], where, message)
    return replace(compare, foreign=foreign)


def _absent(node: Node | None) -> bool:
    return node is None or node.value is None


def _check_settings(node: Node, made: Any, path: str, findings: Findings) -> Any:
    findings.origins[path] = node.origin
    if not isinstance(node.value, dict):
        findings.add(node.origin, path, f"expected a mapping, got {node.plain()!r}")
        return None
    values = check_arguments(node, signature.read(f"{made.__module__}:{made.__name__}"), path, findings)
    if values is None:
        return None
    try:
        return made(**values)
    except ValueError as error:
        key, _, message = str(error).partition(": ")
        findings.add(findings.origins.get(join(path, key), node.origin), join(path, key), message)
        return None


def _digest(stage: Stage, seed: int, earlier: dict[str, Stage]) -> str:
    without = ("name", "config_path", "digest", "candidates")  # the last follow from the others
    facts = {key: value for key, value in asdict(stage).items() if key not in without}
    if stage.choose is None:  # as before there was any choice
        del facts["choose"]
    else:  # as before candidates could be joined, or features smoothed
        facts["choose"] = {
            key: value for key, value in facts["choose"].items() if key not in ("join", "smooth") or value
        }
    for key, unset in (("members", 1), ("self_training", 0)):  # as before there were these keys
        if stage.train is not None and getattr(stage.train, key) == unset:
            del facts["train"][key]
    facts["start_from"] = _start_digest(stage.start_from, earlier) if stage.start_from else None
    if stage.compare is not None and stage.compare.foreign is not None:
        facts["compare"]["foreign"] = _content(stage.compare.foreign)
    return hashlib.sha256(json.dumps([facts, seed], sort_keys=True).encode()).hexdigest()


def _weights(folder: str) -> list[Path]:
    return sorted(Path(folder).glob("*.safetensors"))


def _start_digest(start: str, earlier: dict[str, Stage]) -> str:
    """What tells one start from another: the earlier stage's digest, or the content of weights from elsewhere."""
    if "/" not in start:
        return earlier[start].digest
    return _content(start)


def _content(folder: str) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in _weights(folder))).hexdigest()
