"""Where the shipped pipelines and configs are, in a checkout or in an install."""

from difflib import get_close_matches
from pathlib import Path

from medgraph.errors import ConfigError

_PACKAGE = Path(__file__).resolve().parent


def folder(name: str) -> Path:
    """The folder `pipelines` or `configs`: the checkout's if the package stands in one, else the installed copy."""
    checkout = _PACKAGE.parent
    if (checkout / "pyproject.toml").is_file() and (checkout / name).is_dir():
        return checkout / name
    return _PACKAGE / "_shipped" / name


def pipelines() -> dict[str, Path]:
    """All shipped pipelines by name."""
    return {path.stem: path for path in sorted(folder("pipelines").glob("*.yaml"))}


def pipeline_path(name_or_path: str | Path) -> Path:
    """The file of a pipeline: an existing path as given, else a shipped name. Raises ConfigError with near names."""
    path, name = Path(name_or_path), str(name_or_path)
    if path.is_file():
        return path
    known = pipelines()
    if name in known:
        return known[name]
    if path.suffix in (".yaml", ".yml"):
        raise ConfigError(f"{name}: expected a pipeline file, but there is no such file.")
    near = get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    raise ConfigError(f"no pipeline is called {name!r}{hint} Known: {', '.join(known)}. A path to a file works too.")


def config_path(name: str, pipeline: Path) -> Path | None:
    """The file of a stage config: beside the pipeline, in a `configs` folder beside its folder, else shipped."""
    own = pipeline.resolve().parent
    beside = own.parent if own.name == "pipelines" else own
    places = (own / name, beside / "configs" / name, folder("configs") / name)
    return next((place for place in places if place.is_file()), None)
