"""Imports point downwards, every dependency has one door, files and functions stay short."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "medgraph"
FILES = sorted(PACKAGE.rglob("*.py"))

FOUNDATIONS = {"errors", "checks", "files", "processes", "catalogue", "method", "shipped", "config"}
LOW = {"errors", "checks", "files", "processes"}
ROOMS = {"volume", "sepclr", "hetero"}
# Row may import column: a module or a folder, each with all below it.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "checks": {"errors"},
    "files": set(),
    "processes": {"errors"},
    "catalogue": {"errors"},
    "shipped": {"errors"},
    "method": LOW,
    "config": {"config", "catalogue", "shipped", "errors", "checks"},
    "losses": LOW | {"losses"},
    "clustering": LOW | {"clustering", "losses.pairs"},
    "nn": LOW | {"nn", "data.spec"},
    "data": LOW | {"data"},
    "transforms": LOW | {"transforms", "data"},
    "evaluation": LOW | {"evaluation", "data", "transforms.invert"},
    **{room: LOW | {room, "method", "losses", "clustering", "nn", "data", "transforms"} for room in ROOMS},
    "runner": FOUNDATIONS
    | {"", "runner", "data.spec", "data.loader", "data.formats", "data.torch_files", "data.fingerprint"}
    | {"data.components", "data.label_counts", "data.licence"}
    | {"evaluation.scores", "evaluation.bootstrap", "evaluation.paired", "losses.diagnostics"},
    "command_errors": {"errors"},
    "cli": FOUNDATIONS | {"", "command_errors", "runner", "doctor", "data.audit", "data.spec"},
    "doctor": {""},
    "contracts": FOUNDATIONS | {"runner", "data.synthetic"},
    "__init__": FOUNDATIONS | {"runner"},
    "__main__": {"cli"},
}
# `from medgraph.losses import InfoNCE` finds the one file through the catalogue.
ALSO = {"losses/__init__.py": {"catalogue"}}
DOORS = {
    "ruamel": ["config/"],
    "pydantic": ["config/"],
    "typer": ["cli.py"],
    "nibabel": ["data/nifti.py"],
    "SimpleITK": ["data/itk.py"],
    "accelerate": ["runner/"],
    "torch_geometric": [
        "data/graphs.py",
        "data/pyg_graphs.py",
        "data/walk_features.py",
        "transforms/metapaths.py",
        "transforms/graph_masks.py",
        "hetero/",
    ],
    "monai": ["nn/", "data/", "transforms/", "evaluation/segmentation.py", "runner/export.py"],
    "sklearn": ["data/some_contexts.py", "evaluation/"],
    "safetensors": ["runner/checkpoint.py"],
    "onnxruntime": ["runner/export_formats.py"],
    "torch.distributed": ["processes.py"],
    "triton": ["losses/pairs/fused_kernels.py", "losses/pairs/fused_tile.py"],
}
NEVER = {"torchvision", "lightning", "pytorch_lightning", "hydra", "dgl", "torch_sparse", "faiss"}
FORBIDDEN_NAMES = {"utils", "common", "helpers", "base", "core", "misc"}


def imports(tree: ast.AST) -> set[str]:
    """Every module that a tree imports, as dotted names; `from a import b` gives a.b."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= (
                {f"{node.module}.{alias.name}" for alias in node.names} if node.module and not node.level else {"."}
            )
    return found


def is_below(name: str, place: str) -> bool:
    """Whether a dotted name is a module or something in it."""
    return name == place or name.startswith(place + ".")


def own_imports(tree: ast.AST) -> set[str]:
    """Modules of ours that a tree imports, without `medgraph.`; "" is the package itself."""
    inside = {name for name in imports(tree) if is_below(name, "medgraph")}
    found = set()
    for name in inside:
        rest = name.removeprefix("medgraph").lstrip(".")
        is_module = (PACKAGE / f"{rest.split('.')[0]}.py").exists() or (PACKAGE / rest.split(".")[0]).is_dir()
        found.add(rest if rest and is_module else "")
    return found


def wrong_arrows(place: str, tree: ast.AST) -> list[str]:
    """Imports of ours that the tables do not allow to the file at `place`."""
    allowed = MAY_IMPORT[place.split("/")[0].removesuffix(".py")] | ALSO.get(place, set())
    return sorted(n for n in own_imports(tree) if not any(n == a if a == "" else is_below(n, a) for a in allowed))


def closed_doors(place: str, tree: ast.AST) -> list[str]:
    """Dependencies that the file at `place` may not import."""
    wrong = []
    for name in imports(tree):
        wrong += [name] if name.split(".")[0] in NEVER or name == "." else []
        doors = [DOORS[key] for key in DOORS if is_below(name, key)]
        wrong += [name for allowed in doors if not any(place.startswith(door) for door in allowed)]
    return sorted(wrong)


def public_definitions(tree: ast.Module) -> list[ast.FunctionDef | ast.ClassDef]:
    """Classes, functions and methods that others call; `forward` and `extra_repr` are explained by their class."""
    found = []
    for holder in [tree, *(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name[0] != "_")]:
        found += [node for node in holder.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    return [node for node in found if not node.name.startswith("_") and node.name not in ("forward", "extra_repr")]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_file_keeps_the_rules_of_the_house(path):
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    place = path.relative_to(PACKAGE)
    assert wrong_arrows(place.as_posix(), tree) == []
    assert closed_doors(place.as_posix(), tree) == []
    assert not FORBIDDEN_NAMES & {part.removesuffix(".py") for part in place.parts}
    assert len(text.splitlines()) <= 400
    assert "from __future__" not in text
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno < 60, f"{node.name} is longer than 60 lines"
    for node in public_definitions(tree):
        assert ast.get_docstring(node), f"{node.name} has no docstring"


@pytest.mark.parametrize(
    ("room", "source", "wrong"),
    [
        ("volume", "from medgraph.sepclr.batch import X", ["sepclr.batch.X"]),
        ("losses", "from medgraph.nn import encoders", ["nn.encoders"]),
        ("clustering", "from medgraph.losses.info_nce import InfoNCE", ["losses.info_nce.InfoNCE"]),
        ("clustering", "from medgraph.losses.pairs.lse import pair_lse", []),
        ("catalogue", "from medgraph import config", ["config"]),
        ("runner", "def f():\n    from medgraph.volume.intra import Intra", ["volume.intra.Intra"]),
        ("data", "import medgraph", [""]),
    ],
)
def test_arrows_are_seen(room, source, wrong):
    assert wrong_arrows(f"{room}/x.py", ast.parse(source)) == wrong


@pytest.mark.parametrize(
    ("place", "source", "wrong"),
    [
        ("data/volumes.py", "import nibabel as nib", ["nibabel"]),
        ("data/nifti.py", "import nibabel as nib", []),
        ("nn/unet.py", "from torch import distributed", ["torch.distributed"]),
        ("nn/unet.py", "import torchvision.ops", ["torchvision.ops"]),
        ("nn/unet.py", "from . import encoders", ["."]),
    ],
)
def test_doors_are_seen(place, source, wrong):
    assert closed_doors(place, ast.parse(source)) == wrong


def test_every_dependency_is_declared():
    named = {"ruamel": "ruamel.yaml", "PIL": "pillow", "sklearn": "scikit-learn", "torch_geometric": "torch-geometric"}
    declared = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for path in FILES:
        for name in imports(ast.parse(path.read_text(encoding="utf-8"))):
            top = name.split(".")[0]
            if top not in sys.stdlib_module_names and top not in ("medgraph", "triton"):
                assert f'"{named.get(top, top)}' in declared, f"{path}: {top} is not in pyproject.toml"
