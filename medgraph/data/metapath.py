"""Meta-paths: chains of edge types that leave the target type and come back to it."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import pairwise

from medgraph.errors import ConfigError

EdgeType = tuple[str, str, str]


@dataclass(frozen=True)
class MetaPath:
    """A named chain of edge types, `pap = paper-author-paper`.

    Attributes:
        name: Short name, unique in a graph.
        edge_types: (source type, relation, destination type) of each step.
    """

    name: str
    edge_types: tuple[EdgeType, ...]

    @property
    def node_types(self) -> tuple[str, ...]:
        """Node types along the path, the target at both ends."""
        return (self.edge_types[0][0], *(edge_type[2] for edge_type in self.edge_types))


def parse_metapath(
    text_or_list: str | Sequence[Sequence[str]], edge_types: Iterable[Sequence[str]], target_type: str | None
) -> MetaPath:
    """A meta-path from how a user writes it.

    Args:
        text_or_list: First letters of node types (`pap`), full names (`paper-author-paper`), or a list of edge types.
        edge_types: The edge types of the graph, both directions.
        target_type: Where a path starts and ends; None takes the type that it starts from.

    Raises:
        ConfigError: It does not chain, does not return to its start, or names what the graph does not have.
    """
    known = [_edge_type(item) for item in edge_types]
    if isinstance(text_or_list, str):
        steps = _steps_of_text(text_or_list, known)
        name = text_or_list if "-" not in text_or_list else _short_name(text_or_list.split("-"), known)
    else:
        steps = [_edge_type(item) for item in text_or_list]
        for step in steps:
            _check_known(step, known)
        name = _short_name([steps[0][0], *(step[2] for step in steps)], known) if steps else ""
    shown = text_or_list if isinstance(text_or_list, str) else " ".join(map(str, steps))
    _check_chain(steps, shown, target_type or (steps[0][0] if steps else "a node type"))
    return MetaPath(name, tuple(steps))


def default_metapaths(edge_types: Iterable[Sequence[str]], target_type: str) -> tuple[MetaPath, ...]:
    """Every path target-u-target, and target-u-v-u-target over a third type, in order of their names.

    Types joined by several relations are left out, as a path over them has to say which.
    """
    known = [_edge_type(item) for item in edge_types]
    found: list[tuple[EdgeType, ...]] = []
    for first in known:
        back = _between(known, first[2], target_type)
        if first[0] != target_type or first[2] == target_type or len(back) != 1:
            continue
        if len(_between(known, target_type, first[2])) != 1:
            continue
        found.append((first, back[0]))
        for second in known:
            if second[0] != first[2] or second[2] in (target_type, first[2]):
                continue
            there, again = _between(known, first[2], second[2]), _between(known, second[2], first[2])
            if len(there) == len(again) == 1:
                found.append((first, second, again[0], back[0]))
    names = [_short_name([steps[0][0], *(step[2] for step in steps)], known) for steps in found]
    return tuple(sorted((MetaPath(n, s) for n, s in zip(names, found, strict=True)), key=lambda path: path.name))


def ambiguous_pairs(edge_types: Iterable[Sequence[str]], target_type: str) -> list[str]:
    """A sentence for each pair of types over which `default_metapaths` leaves paths out, as relations are several."""
    known = [_edge_type(item) for item in edge_types]
    inner = dict.fromkeys(edge_type[2] for edge_type in known if edge_type[0] == target_type)
    pairs = [(target_type, name) for name in inner]
    pairs += [(e[0], e[2]) for e in known if e[0] in inner and e[0] != target_type and e[2] != target_type]
    found = []
    for first, second in dict.fromkeys(pairs):
        there, back = _between(known, first, second), _between(known, second, first)
        if first != second and max(len(there), len(back)) > 1:
            several = max(there, back, key=len)
            relations = ", ".join(relation for _, relation, _ in several)
            found.append(
                f"{several[0][0]}-{several[0][2]} is joined by {len(several)} relations ({relations}), so no path over "
                "it was taken by default; name one in metapaths of the source, as a list of edge types."
            )
    return found


def told_apart(paths: Iterable[MetaPath]) -> tuple[MetaPath, ...]:
    """The same paths, each with a name of its own: of those called alike, the relations are added to the name.

    Raises:
        ConfigError: One of them is there twice.
    """
    paths = tuple(paths)
    names = Counter(path.name for path in paths)
    for path, count in Counter(path.edge_types for path in paths).items():
        if count > 1:
            name = next(each.name for each in paths if each.edge_types == path)
            raise ConfigError(f"metapaths: {name!r} is there {count} times; name each meta-path once.")
    return tuple(path if names[path.name] == 1 else MetaPath(_long_name(path), path.edge_types) for path in paths)


def _long_name(path: MetaPath) -> str:
    return f"{path.name} ({', '.join(relation for _, relation, _ in path.edge_types)})"


def _edge_type(item: Sequence[str]) -> EdgeType:
    if isinstance(item, str) or len(item) != 3:
        raise ConfigError(f"meta-path step {item!r}: expected [source type, relation, destination type].")
    return (str(item[0]), str(item[1]), str(item[2]))


def _between(known: Sequence[EdgeType], source: str, destination: str) -> list[EdgeType]:
    return [edge_type for edge_type in known if edge_type[0] == source and edge_type[2] == destination]


def _node_types(known: Sequence[EdgeType]) -> list[str]:
    return sorted({name for source, _, destination in known for name in (source, destination)})


def _steps_of_text(text: str, known: Sequence[EdgeType]) -> list[EdgeType]:
    types = _node_types(known)
    names = text.split("-") if "-" in text else [_of_letter(letter, text, types) for letter in text]
    for name in names:
        if name not in types:
            raise ConfigError(f"meta-path {text!r}: no node type is called {name!r}{_hint(name, types)}")
    steps = []
    for source, destination in pairwise(names):
        found = _between(known, source, destination)
        if not found:
            raise ConfigError(
                f"meta-path {text!r}: does not chain, no relation leads from {source!r} to {destination!r}. "
                f"From {source!r} lead: {_listed([e for e in known if e[0] == source])}."
            )
        if len(found) > 1:
            raise ConfigError(
                f"meta-path {text!r}: {len(found)} relations lead from {source!r} to {destination!r}: "
                f"{_listed(found)}. Write the path as a list of edge types."
            )
        steps.append(found[0])
    return steps


def _of_letter(letter: str, text: str, types: Sequence[str]) -> str:
    found = [name for name in types if name.startswith(letter)]
    if len(found) == 1:
        return found[0]
    if found:
        raise ConfigError(
            f"meta-path {text!r}: {letter!r} stands for {' and '.join(found)}. Write full names: {'-'.join(found)}-..."
        )
    raise ConfigError(f"meta-path {text!r}: no node type starts with {letter!r}. Node types: {', '.join(types)}.")


def _check_known(step: EdgeType, known: Sequence[EdgeType]) -> None:
    if step in known:
        return
    words = {" ".join(edge_type): edge_type for edge_type in known}
    near = get_close_matches(" ".join(step), words, n=1)
    hint = f"; did you mean {words[near[0]]}?" if near else f". Edge types: {_listed(known)}."
    raise ConfigError(f"meta-path step {step}: the graph has no such edge type{hint}")


def _check_chain(steps: Sequence[EdgeType], shown: str, target_type: str) -> None:
    if not steps:
        raise ConfigError(f"meta-path {shown!r}: expected at least one step from {target_type!r} back to it.")
    for first, second in pairwise(steps):
        if first[2] != second[0]:
            raise ConfigError(f"meta-path {shown!r}: does not chain, {first} ends at {first[2]!r}, {second} does not.")
    for place, name in (("starts", steps[0][0]), ("ends", steps[-1][2])):
        if name != target_type:
            raise ConfigError(f"meta-path {shown!r}: {place} at {name!r}, expected the target type {target_type!r}.")


def _short_name(types: Sequence[str], known: Sequence[EdgeType]) -> str:
    letters = [name[0] for name in _node_types(known)]
    is_clear = len(set(letters)) == len(letters)
    return "".join(name[0] for name in types) if is_clear else "-".join(types)


def _hint(name: str, types: Sequence[str]) -> str:
    near = get_close_matches(name, types, n=1)
    return f"; did you mean {near[0]!r}?" if near else f". Node types: {', '.join(types)}."


def _listed(edge_types: Sequence[EdgeType]) -> str:
    return ", ".join(map(str, edge_types)) or "none"
