"""What an encoder must be shown, and what the data of a stage show it: kind, dimensions, channels, node types."""

from collections.abc import Iterator
from typing import Any

from medgraph.data.spec import GraphSpec, ImageSpec


def unlike(where: str, encoder: Any, data: Any) -> list[str]:
    """A line if an encoder cannot see the data of a stage just as they are.

    Args:
        where: Beginning of the line: the key and the encoder.
        encoder: Spec of the data that the encoder was built for.
        data: Spec of the data of the stage.
    """
    if isinstance(encoder, GraphSpec) and isinstance(data, GraphSpec):
        takes, have = next(_graph_differences(encoder, data), ("", ""))
        return [_line(where, takes, f"have {have}")] if takes else []
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


def _line(where: str, takes: str, have: str) -> str:
    return (
        f"{where}, whose encoder takes {takes}, but the data of this stage {have}. "
        "Prepare the data alike, or start from another encoder."
    )


def _graph_differences(encoder: GraphSpec, data: GraphSpec) -> Iterator[tuple[str, str]]:
    """Each thing that an encoder of graphs takes and the data have otherwise, with what they have."""
    if encoder.target_type != data.target_type:
        yield f"targets of type {encoder.target_type!r}", repr(data.target_type)
    contexts, paths = (dict(getattr(spec, "context_types", {})) for spec in (encoder, data))
    for name in sorted({encoder.target_type, *(name for types in contexts.values() for name in types)}):
        takes, have = (spec.feature_dims.get(name) or spec.node_counts.get(name, 0) for spec in (encoder, data))
        if takes != have:
            yield f"{takes} columns of {name!r}", str(have)
    for path, types in paths.items():
        if path not in contexts or set(contexts[path]) != set(types):
            yield f"the meta-paths {_named(contexts)}", _named({path: types})


def _named(contexts: dict[str, tuple[str, ...]]) -> str:
    return ", ".join(f"{path} ({', '.join(types)})" if types else path for path, types in contexts.items()) or "none"


def _told(spec: Any) -> str:
    if isinstance(spec, GraphSpec):
        return f"a graph of {spec.target_type!r}"
    return f"{spec.spatial_dims}D with {spec.channels} channel{'s' if spec.channels > 1 else ''}"
