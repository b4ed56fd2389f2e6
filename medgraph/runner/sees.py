"""What an encoder must be shown, and what the data of a stage show it: kind, dimensions, channels, node types."""

import warnings
from pathlib import Path
from typing import Any

from medgraph.data.spec import GraphSpec, ImageSpec, parts_of

_DO = "Prepare the data alike, or start from another encoder."


def unlike(where: str, encoder: Any, data: Any) -> list[str]:
    """A line if an encoder cannot see the data of a stage just as they are.

    Args:
        where: Beginning of the line: the key and the encoder.
        encoder: Spec of the data that the encoder was built for.
        data: Spec of the data of the stage.
    """
    if isinstance(encoder, GraphSpec) and isinstance(data, GraphSpec):
        wrong = graph_differences(encoder, data)
        told = f"{where}, whose encoder does not fit the graph of this stage: {'; '.join(wrong)}. {_DO}"
        return [told] if wrong else []
    if isinstance(encoder, ImageSpec) and isinstance(data, ImageSpec) and _told(encoder) != _told(data):
        return [_line(where, _told(encoder), f"are {_told(data)}")]
    return of_another_kind(where, encoder, data)


def unlike_summed(where: str, encoder: Any, data: Any) -> list[str]:
    """The same of an encoder that gives its weights to another: color kernels enter gray ones summed."""
    if not isinstance(encoder, ImageSpec) or not isinstance(data, ImageSpec):
        return []
    same_channels = encoder.channels == data.channels or (encoder.channels, data.channels) == (3, 1)
    if encoder.spatial_dims == data.spatial_dims and same_channels:
        return []
    return [_line(where, _told(encoder), f"are {_told(data)}")]


def of_another_kind(where: str, encoder: Any, data: Any) -> list[str]:
    """A line if one of both is of graphs and the other of images."""
    if {isinstance(spec, GraphSpec) for spec in (encoder, data)} != {True, False}:
        return []
    return [_line(where, _told(encoder), f"are {_told(data)}")]


def graph_differences(encoder: GraphSpec, data: GraphSpec) -> list[str]:
    """What an encoder of graphs was built for and a graph does not have, in words; empty if it can be embedded.

    Meta-paths have to come in the same order, in which the encoder keeps blocks of columns and weights of its views.
    Of several networks that see a graph in different ways, each is compared.
    """
    then, now = parts_of(encoder), parts_of(data)
    if len(then) != len(now):
        return [f"it joins {len(then)} networks that see a graph each in its own way, here are views of {len(now)}"]
    return list(dict.fromkeys(line for pair in zip(then, now, strict=True) for line in _differences(*pair)))


def _differences(encoder: GraphSpec, data: GraphSpec) -> list[str]:
    if encoder.target_type != data.target_type:
        return [f"it embeds nodes of type {encoder.target_type}, not {data.target_type}"]
    contexts, paths = (dict(getattr(spec, "context_types", {})) for spec in (encoder, data))
    if list(contexts.items()) != list(paths.items()):
        return [f"its meta-paths are {_named(contexts)}, those of the graph {_named(paths)}"]
    found = []
    for name in used_types(encoder):
        width, wide = (spec.feature_dims.get(name, 0) for spec in (encoder, data))
        count, number = (spec.node_counts.get(name, 0) for spec in (encoder, data))
        if width != wide:
            found.append(f"features of {name} are {width or 'none'} wide in training, {wide or 'none'} here")
        elif not width and count != number:
            counts = f"{count} in training, {number} here"
            found.append(f"{name} has no features, so its nodes are known by their number, but there are {counts}")
    if list(encoder.path_feature_dims.items()) != list(data.path_feature_dims.items()):
        found.append(f"features of {encoder.target_type} for each meta-path are of another width")
    return found


def warn_if_laid_otherwise(start: Path, encoder: Any, data: Any) -> None:
    """Warn where an encoder saw slices lie otherwise than a stage shows them: upright, or as their axes come.

    Args:
        start: Folder of the encoder.
        encoder: The data part that it was trained on, as stored; None where that is not known.
        data: The data part of the stage.
    """
    there, here = _upright(encoder), _upright(data)
    if there and here and not there & here:
        words = {True: "upright", False: "with rows and columns as they come (upright: false)"}
        warnings.warn(
            f"{start}: its encoder saw slices {words[there.pop()]}, the data of this stage lay them "
            f"{words[here.pop()]}. Set upright alike, unless that is what you want.",
            stacklevel=2,
        )


def _upright(node: Any) -> set[bool]:
    """What the parts of a data part say of how slices lie."""
    inner = node if isinstance(node, list) else list(node.values()) if isinstance(node, dict) else []
    own = {node["upright"]} if isinstance(node, dict) and "upright" in node else set()
    return own.union(*map(_upright, inner))


def used_types(spec: GraphSpec) -> list[str]:
    """Node types that an encoder of graphs has weights for."""
    contexts = [types for part in parts_of(spec) for types in getattr(part, "context_types", {}).values()]
    return sorted({spec.target_type, *(name for types in contexts for name in types)})


def _named(contexts: dict[str, tuple[str, ...]]) -> str:
    return ", ".join(f"{name} over {'-'.join(types) or 'nothing'}" for name, types in contexts.items()) or "none"


def _line(where: str, takes: str, have: str) -> str:
    return f"{where}, whose encoder takes {takes}, but the data of this stage {have}. {_DO}"


def _told(spec: Any) -> str:
    if isinstance(spec, GraphSpec):
        return f"a graph of {spec.target_type!r}"
    return f"{spec.spatial_dims}D with {spec.channels} channel{'s' if spec.channels > 1 else ''}"
