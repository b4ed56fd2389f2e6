"""A constructor's signature, read from source without importing: the schema of a part."""

import ast
import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from medgraph import checks
from medgraph.errors import ConfigError

FILLED = {"spec": "the data", "seed": "the pipeline"}  # parameters that the builder fills, and from where
_PACKAGE = Path(__file__).resolve().parents[1]
_TYPES: dict[str, Any] = {
    "object": object,  # anything that YAML can say
    "int": int, "float": float, "str": str, "bool": bool, "tuple": tuple, "list": list, "dict": dict,
    "Literal": Literal, "Sequence": Sequence, "Path": Path, "__builtins__": {},
}  # fmt: skip
_CONDITIONAL = ast.BoolOp | ast.IfExp | ast.Lambda | ast.GeneratorExp | ast.ListComp | ast.SetComp | ast.DictComp


@dataclass(frozen=True)
class Parameter:
    """One argument of a constructor.

    Attributes:
        name: Its name, which is its key in YAML.
        text: The annotation as written.
        annotation: The annotation as a type; None for a part that the catalogue builds.
        many: The part is a list of parts.
        required: It has no default.
        default: The default, if it has one.
    """

    name: str
    text: str
    annotation: Any
    many: bool
    required: bool
    default: Any = None


@dataclass(frozen=True)
class ValueCheck:
    """A line `checks.function("parameter", parameter, ...)` that a constructor runs on each call."""

    function: str
    parameter: str
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]

    def run(self, value: Any) -> str | None:
        """What is wrong with the value, without the parameter's name; None if nothing is."""
        try:
            getattr(checks, self.function)(self.parameter, value, *self.arguments, **self.keywords)
        except (ValueError, OverflowError) as error:
            return str(error).removeprefix(f"{self.parameter}: ")
        return None


@dataclass(frozen=True)
class Signature:
    """The class name, parameters and value checks of a part."""

    class_name: str
    parameters: dict[str, Parameter]
    checks: tuple[ValueCheck, ...]

    @property
    def settable(self) -> dict[str, Parameter]:
        """Parameters that are keys in YAML: all but those the builder fills and `name`, which is the part's own key."""
        return {name: p for name, p in self.parameters.items() if name not in (*FILLED, "name")}


@cache
def read(target: str) -> Signature:
    """The signature of "module:Class". Raises ConfigError if there is no such source or class."""
    module, _, class_name = target.partition(":")
    file = _source_file(module)
    tree = ast.parse(file.read_text(encoding="utf-8"), filename=str(file))
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    if class_name not in classes:
        raise ConfigError(f"{target}: {file} defines no class {class_name}.")
    node: ast.ClassDef | None = classes[class_name]
    constants = _constants(tree)
    while node is not None:  # a constructor may be inherited from a class of the same file
        functions = {item.name: item for item in node.body if isinstance(item, ast.FunctionDef)}
        if "__init__" in functions:
            parameters = _arguments(functions["__init__"], constants, target)
            return Signature(class_name, parameters, _checks(functions["__init__"], parameters, constants))
        if any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
            parameters = _fields(node, constants, target)
            run_after = functions.get("__post_init__")
            return Signature(class_name, parameters, _checks(run_after, parameters, constants) if run_after else ())
        node = next((classes[b.id] for b in node.bases if isinstance(b, ast.Name) and b.id in classes), None)
    return Signature(class_name, {}, ())


def _source_file(module: str) -> Path:
    top, *rest = module.split(".")
    if top == "medgraph":
        base = _PACKAGE
    else:
        spec = importlib.util.find_spec(top)
        if spec is None or spec.origin is None:
            raise ConfigError(f"{module}: the package {top!r} is not installed.")
        base = Path(spec.origin).parent if spec.submodule_search_locations else Path(spec.origin)
    path = base.joinpath(*rest)
    for file in (path, path.with_name(path.name + ".py"), path / "__init__.py"):
        if file.is_file():
            return file
    raise ConfigError(f"{module}: no source file at {path}.py.")


def _constants(tree: ast.Module) -> dict[str, ast.expr]:
    """Simple assignments at the top of a module, by name."""
    found: dict[str, ast.expr] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            found[node.target.id] = node.value
    return found


def _arguments(function: ast.FunctionDef, constants: dict[str, ast.expr], target: str) -> dict[str, Parameter]:
    arguments = function.args
    if arguments.vararg or arguments.kwarg:
        raise TypeError(f"{target}: a part names every parameter of its constructor; no *args, no **kwargs.")
    positional = [*arguments.posonlyargs, *arguments.args][1:]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults)) + list(arguments.defaults)
    pairs = list(zip(positional, defaults, strict=True))
    pairs += list(zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True))
    return {a.arg: _parameter(a.arg, a.annotation, default, constants, target) for a, default in pairs}


def _fields(node: ast.ClassDef, constants: dict[str, ast.expr], target: str) -> dict[str, Parameter]:
    return {
        item.target.id: _parameter(item.target.id, item.annotation, item.value, constants, target)
        for item in node.body
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
    }


def _parameter(
    name: str, annotation: ast.expr | None, default: ast.expr | None, constants: dict[str, ast.expr], target: str
) -> Parameter:
    if annotation is None:
        raise TypeError(f"{target}: parameter {name!r} has no annotation.")
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        annotation = ast.parse(annotation.value, mode="eval").body
    text = ast.unparse(annotation)
    kind = _evaluate(annotation, constants, _TYPES)
    value = None if default is None else _evaluate(default, constants, {"math": math, "__builtins__": {}})
    if value is _UNKNOWN:
        raise TypeError(f"{target}: the default of {name!r} is not a literal: {ast.unparse(default or annotation)}.")
    many = text.startswith(("list[", "tuple[", "Sequence[", "Iterable["))
    return Parameter(name, text, None if kind is _UNKNOWN else kind, many, default is None, value)


_UNKNOWN = object()


def _evaluate(node: ast.expr, constants: dict[str, ast.expr], names: dict[str, Any]) -> Any:
    """The value of an expression over `names` and constants of its module; `_UNKNOWN` if it needs more."""
    names = dict(names)
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and part.id in constants and part.id not in names:
            rest = {name: value for name, value in constants.items() if name != part.id}
            names[part.id] = _evaluate(constants[part.id], rest, names)
            if names[part.id] is _UNKNOWN:
                return _UNKNOWN
    try:
        return eval(compile(ast.Expression(node), "<signature>", "eval"), names)
    except Exception:  # whatever it needs, it is not here
        return _UNKNOWN


def _checks(
    function: ast.FunctionDef, parameters: dict[str, Parameter], constants: dict[str, ast.expr]
) -> tuple[ValueCheck, ...]:
    """Value checks that run whatever the values are: not inside branches, not after the name was rebound."""
    found, rebound = [], set()
    for statement in function.body:
        if isinstance(statement, ast.Return | ast.Raise):
            break
        if isinstance(statement, ast.If):
            roots: list[ast.expr] = [statement.test]
        else:
            value = getattr(statement, "value", None)
            roots = [value] if isinstance(value, ast.expr) else []
        for call in [call for root in roots for call in _unconditional_calls(root)]:
            check = _value_check(call, constants)
            if check is not None and check.parameter in parameters and check.parameter not in rebound:
                found.append(check)
        rebound |= {n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return tuple(found)


def _unconditional_calls(node: ast.AST) -> list[ast.Call]:
    if isinstance(node, _CONDITIONAL):
        return []
    calls = [node] if isinstance(node, ast.Call) else []
    return calls + [call for child in ast.iter_child_nodes(node) for call in _unconditional_calls(child)]


def _value_check(call: ast.Call, constants: dict[str, ast.expr]) -> ValueCheck | None:
    if not (isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) == "checks" and len(call.args) > 1):
        return None
    label, value, *others = call.args
    name = label.value if isinstance(label, ast.Constant) else None
    if not isinstance(name, str) or ast.unparse(value) not in (name, f"self.{name}"):
        return None
    names = {"math": math, "__builtins__": {}}
    arguments = tuple(_evaluate(other, constants, names) for other in others)
    keywords = {k.arg or "": _evaluate(k.value, constants, names) for k in call.keywords}
    if _UNKNOWN in (*arguments, *keywords.values()) or not hasattr(checks, call.func.attr):
        return None
    return ValueCheck(call.func.attr, name, arguments, keywords)
