"""NamedModules: modules by any name, also one that torch refuses."""

from collections.abc import Iterable, Iterator
from typing import Any

from torch import nn

_MARK = "%"
_TAKEN = frozenset(dir(nn.ModuleDict()))  # what a ModuleDict is called by itself


class NamedModules(nn.ModuleDict):
    """A ModuleDict whose keys are names of the user's graph: they may hold dots, or be called like a method of torch.

    Such names are escaped where torch sees them, in names of parameters; all others stand there as they are.

    Args:
        modules: Modules by name.
    """

    def __getitem__(self, key: str) -> nn.Module:
        return super().__getitem__(_escaped(key))

    def __setitem__(self, key: str, module: nn.Module) -> None:
        super().__setitem__(_escaped(key), module)

    def __delitem__(self, key: str) -> None:
        super().__delitem__(_escaped(key))

    def __contains__(self, key: str) -> bool:
        return super().__contains__(_escaped(key))

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def keys(self) -> Any:
        """The names as they were given."""
        return [_plain(key) for key in self._modules]

    def items(self) -> Iterable[tuple[str, nn.Module]]:  # type: ignore[override]
        """Each name as it was given, and its module."""
        return list(zip(self.keys(), self.values(), strict=True))


def _escaped(name: str) -> str:
    """The name, or where torch refuses it, a mark and the name with its dots spelled out."""
    is_refused = not name or "." in name or name in _TAKEN
    if not is_refused and not name.startswith(_MARK):
        return name
    return _MARK + name.replace("%", "%25").replace(".", "%2E")


def _plain(key: str) -> str:
    return key.removeprefix(_MARK).replace("%2E", ".").replace("%25", "%") if key.startswith(_MARK) else key
