"""The command line: run, check, list, show, copy, predict, embed, export, adopt, data, doctor."""

import json
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

import medgraph
from medgraph import catalogue, config, shipped
from medgraph.command_errors import CAN_HAPPEN, line_of
from medgraph.errors import DataError, MedgraphError

_DEBUG = "--debug"  # every command takes it; main() acts on it, outside of all commands

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Device(StrEnum):
    """Where tensors live."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


Name = Annotated[str, typer.Argument(metavar="NAME", help="Shipped pipeline (see `list`) or path of a pipeline file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[STAGE.KEY=VALUE]...", help="Changes to the configs, e.g. `pretrain.train.epochs=2`."),
]
DataChanges = Annotated[
    list[str] | None, typer.Option("--data", metavar="KEY=VALUE", help="Change of the data trained on, see below.")
]
Debug = Annotated[bool, typer.Option(_DEBUG, help="Show the traceback of an error.")]


@app.callback()
def _front() -> None:
    """Self-supervised contrastive learning on medical images and graphs.

    Start with `medgraph run quickstart`. A **pipeline** says which stages run; `medgraph show quickstart` prints one
    with every value; `medgraph copy quickstart .` gives you the files to edit.
    """


@app.command()
def run(
    name: Name,
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="Run folder. Default: runs/NAME-DATE.")] = None,
    device: Annotated[Device, typer.Option(help="`auto` takes a GPU if there is one.")] = Device.auto,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a run with the same changes stopped.")] = False,
    dry: Annotated[bool, typer.Option("--dry", help="Check everything, then stop before the first step.")] = False,
    debug: Debug = False,
) -> None:
    """Check a pipeline, then run it stage after stage.

    Nothing is written before the check passes.

    - `medgraph run quickstart`
    - `medgraph run quickstart pretrain.train.epochs=2 pretrain.method.loss.temperature=0.2`
    - `medgraph run my-pipeline.yaml --out runs/mine --resume`
    """
    if dry:
        _report_check(name, overrides or [], needs_data=True)
        return
    with _interrupted("Go on with the same command and --resume."):
        medgraph.run(name, overrides or [], out=out, device=device.value, resume=resume)


@app.command()
def check(name: Name, overrides: Overrides = None, debug: Debug = False) -> None:
    """Find every mistake in a pipeline without running it.

    Prints one line for each: file:line:column, key, what was expected, what came. Exit code 2 if there is one. Data
    that are not on this machine are no mistake: a note names them, and their stages are checked by the config alone.
    `medgraph run --dry` refuses them.

    - `medgraph check quickstart`
    - `medgraph check my-pipeline.yaml pretrain.data.size=[64,64]`
    """
    _report_check(name, overrides or [])


@app.command("list")
def list_() -> None:
    """List the shipped pipelines, each with its first line, and the parts that a config can name.

    - `medgraph list`
    """
    for name, path in shipped.pipelines().items():
        first = path.read_text(encoding="utf-8").partition("\n")[0]
        typer.echo(f"{name:14} {first.lstrip('# ')}")
    for kind in catalogue.TABLES:
        typer.echo(f"{kind + ':':14} {', '.join(sorted(catalogue.table(kind))) or 'none'}")


@app.command()
def show(
    name: Annotated[str | None, typer.Argument(help="Shipped pipeline or path of a pipeline file.")] = None,
    overrides: Overrides = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of pipeline files instead.")] = False,
    debug: Debug = False,
) -> None:
    """Print a pipeline with its configs inlined and every default written out.

    What is printed is a pipeline file itself. With `--schema`, print the JSON Schema that gives editors completion.

    - `medgraph show quickstart`
    - `medgraph show quickstart pretrain.train.epochs=2 > mine.yaml`
    - `medgraph show --schema > medgraph.schema.json`
    """
    if schema:
        typer.echo(json.dumps(config.json_schema(), indent=2))
    elif name is None:
        raise typer.BadParameter("give the name of a pipeline, or --schema", param_hint="NAME")
    else:
        typer.echo(config.resolved(config.load(name, overrides or [])), nl=False)


@app.command()
def copy(
    name: Name,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to; made if it is not there.")],
    debug: Debug = False,
) -> None:
    """Copy a pipeline and its configs to edit them.

    Makes DIR/pipelines and DIR/configs. The copy takes the copied configs; files that exist are never overwritten.

    - `medgraph copy quickstart .` and then `medgraph run pipelines/quickstart.yaml`
    """
    source = shipped.pipeline_path(name)
    files = {Path("configs") / place: file for place, file in config.config_files(source).items()}
    copies = {folder / place: file for place, file in {Path("pipelines") / source.name: source, **files}.items()}
    present = [str(target) for target in copies if target.exists()]
    if present:
        raise MedgraphError(f"{', '.join(present)}: exists already; choose another folder. Nothing was copied.")
    for target, file in copies.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
        typer.echo(target)


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder, or the folder of a model in it.")],
    out: Annotated[Path, typer.Option(help="Folder to write to.")],
    images: Annotated[Path | None, typer.Argument(help="Folder of new cases, of one kind; none for a graph.")] = None,
    model: Annotated[str | None, typer.Option(help="Which of several models of the run.")] = None,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Also write each class's probability.")
    ] = False,
    largest_component: Annotated[
        bool, typer.Option("--largest-component", help="Keep only the largest connected piece of each label.")
    ] = False,
    series: Annotated[str | None, typer.Option(help="UID of the DICOM series, where folders hold several.")] = None,
    workers: Annotated[int, typer.Option(help="Cases read at the same time.")] = 2,
    memory: Annotated[float | None, typer.Option(help="GiB that may be taken; what is free if unsaid.")] = None,
    data: DataChanges = None,
    device: Annotated[Device, typer.Option(help="`auto` takes a GPU if there is one.")] = Device.auto,
    debug: Debug = False,
) -> None:
    """Apply a fine-tuned model to new cases: NIfTI, NRRD, MetaImage, DICOM series, PNG, JPEG.

    Each case gets a label map on its own grid, or a row in predictions.csv where the model classifies or predicts a
    number. A case that fails does not stop the others; exit code 3 then. Of a graph, predictions.csv has a row a node.

    - `medgraph predict runs/quickstart images/ --out masks/`
    - `medgraph predict runs/quickstart images/ --out masks/ --model verdict/from-scratch-4-seed31 --probabilities`
    """
    settings: dict[str, Any] = {"model": model, "probabilities": probabilities, "series": series, "workers": workers}
    settings |= {"keep_largest": largest_component, "memory": memory, "changes": data or []}
    with _interrupted("No case was begun."):
        from medgraph.runner.predict_nodes import predict_cases_or_nodes

        predict_cases_or_nodes(run, images, out, device=device.value, **settings)


@app.command()
def embed(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder, or the folder of an encoder.")],
    out: Annotated[Path, typer.Option(help="Folder to write to.")],
    images: Annotated[
        Path | None,
        typer.Argument(metavar="IMAGES", help="Folder of cases, all of one kind of file; none for a graph."),
    ] = None,
    encoder: Annotated[str | None, typer.Option(help="Stage whose encoder to take; the last one's if unsaid.")] = None,
    series: Annotated[str | None, typer.Option(help="UID of the DICOM series, where folders hold several.")] = None,
    workers: Annotated[int, typer.Option(help="Cases read at the same time.")] = 2,
    data: DataChanges = None,
    device: Annotated[Device, typer.Option(help="`auto` takes a GPU if there is one.")] = Device.auto,
    debug: Debug = False,
) -> None:
    """Write the features of cases by an encoder, as parquet and .npy, a row for each case and each slice.

    - `medgraph embed runs/quickstart images/ --out features/`
    - `medgraph embed runs/quickstart/pretrain/encoder images/ --out features/`
    - `medgraph embed runs/smoke-meow --out features/`, the nodes of the graph that was trained on
    - `medgraph embed runs/tables --out features/ --data source.root=DIR`, those of another graph of the same columns
    - `medgraph embed runs/mixed images/ --out features/ --data like=1`, files prepared like the second of several sets
    """
    with _interrupted(f"Nothing was written to {out}."):
        from medgraph.runner.embed_nodes import embed_cases_or_nodes

        settings: dict[str, Any] = {"series": series, "workers": workers, "changes": data or [], "encoder": encoder}
        embed_cases_or_nodes(run, images, out, device=device.value, **settings)


@app.command()
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder, or the folder of an encoder.")],
    format: Annotated[str, typer.Option(help="`safetensors`, `pt2`, `onnx`, `monai-bundle` or `hf`.")],
    out: Annotated[Path, typer.Option(help="Folder to write to, absent or empty.")],
    encoder: Annotated[str | None, typer.Option(help="Stage whose encoder to take; the last one's if unsaid.")] = None,
    debug: Debug = False,
) -> None:
    """Take an encoder into other tools: each export is loaded again and compared before it counts.

    - `medgraph export runs/quickstart --format onnx --out encoder-onnx/`
    - `medgraph export runs/quickstart --format monai-bundle --out bundle/`
    """
    with _interrupted(f"Nothing was written to {out}."):
        from medgraph.runner.export_formats import export as export_encoder

        export_encoder(run, format, out, encoder=encoder)
    typer.echo(f"{out}: written, loaded again, same features.")


@app.command()
def adopt(
    weights: Annotated[Path, typer.Argument(metavar="WEIGHTS", help="A .safetensors, .pt or .pth file.")],
    out: Annotated[Path, typer.Option(help="Folder to write the encoder to.")],
    encoder: Annotated[
        str, typer.Option(help="`resnet`, `resnet_padded` (no weights on shortcuts), or `swin`.")
    ] = "resnet",
    depth: Annotated[int, typer.Option(help="Of a ResNet: 10, 18, 34, 50, 101, 152 or 200.")] = 18,
    width: Annotated[int | None, typer.Option(help="Channels of the first stage; 64, or 48 of a Swin.")] = None,
    stem: Annotated[str, typer.Option(help="Of a ResNet: `imagenet` or `small`.")] = "imagenet",
    dims: Annotated[int, typer.Option(help="2 or 3.")] = 2,
    channels: Annotated[int, typer.Option(help="Of the images it shall take; a color stem is summed for 1.")] = 1,
    debug: Debug = False,
) -> None:
    """Make foreign weights an encoder: MONAI (MedicalNet), torchvision, timm residual networks; SwinUNETR, VoCo.

    Prints a line for each tensor. Any that does not fit is an error. A stage takes the folder by `start_from`, and a
    compare stage by `compare.foreign`.

    - `medgraph adopt resnet18.pth --out encoders/imagenet`
    - `medgraph adopt resnet_50_23dataset.pth --out encoders/medicalnet --depth 50 --dims 3`
    - `medgraph adopt resnet_18_23dataset.pth --out encoders/medicalnet --encoder resnet_padded --dims 3`
    - `medgraph adopt model_swinvit.pt --out encoders/swin --encoder swin --dims 3`
    """
    from medgraph.data.spec import ImageSpec
    from medgraph.runner.foreign import adopt as adopt_weights

    if dims not in (2, 3):
        raise typer.BadParameter("expected 2 or 3", param_hint="--dims")
    if encoder not in ("resnet", "resnet_padded", "swin"):
        raise typer.BadParameter("expected resnet, resnet_padded or swin", param_hint="--encoder")
    own = {"depth": depth, "stem": stem, "width": width or 64} if encoder != "swin" else {"width": width or 48}
    node = config.with_defaults({"name": encoder, **own}, "encoders")
    report = adopt_weights(weights, node, ImageSpec(dims, channels, (64,) * dims, 0), out)
    for how, lines in report.items():
        for line in lines:
            typer.echo(f"{how}: {line}")
    counts = ", ".join(f"{len(lines)} {how}" for how, lines in report.items())
    start = out if "/" in out.as_posix() else f"./{out}"
    typer.echo(f"{out}: {counts}. Use it by `start_from: {start}`.")


@app.command()
def data(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Folder or file of data, or a pipeline, for its data.")],
    overrides: Overrides = None,
    debug: Debug = False,
) -> None:
    """Describe data before training on it.

    Of a graph: types, degrees, labels, splits, meta-paths, and the memory it will need. Of volumes and images: parts,
    grids, groups, and files that are the same. Of arrays and examples that are made: how many, and their size.

    - `medgraph data data/graphs/acm`
    - `medgraph data my-graph.yaml pretrain.data.source.target_type=patient`
    """
    from medgraph.data import audit

    if Path(name).exists() and Path(name).suffix not in (".yaml", ".yml"):
        if overrides:
            raise typer.BadParameter("only a pipeline takes changes", param_hint="[STAGE.KEY=VALUE]...")
        sources: list[tuple[Any, dict[str, Any]]] = [(audit.recognize(Path(name)), {})]
    else:
        pipeline = config.load(name, overrides or [])
        nodes = [part for stage in pipeline.stages.values() for part in _sources(stage.data or {})]
        different = [node for number, node in enumerate(nodes) if node not in nodes[:number]]
        sources = [(config.build(node, kind, seed=pipeline.seed), settings) for node, kind, settings in different]
        if not sources:
            raise MedgraphError(f"{name}: no stage has a source of data that could be described.")
    for source, settings in sources:
        for line in audit.lines(source, **settings):
            typer.echo(line)


@app.command()
def doctor() -> None:
    """Say what this machine offers: versions, devices, optional packages, disk.

    - `medgraph doctor`
    """
    from medgraph import doctor as machine

    for line in machine.lines():
        typer.echo(line)


def main() -> None:
    """Run the command line; errors of input leave with exit code 2 and no traceback, a warning is told once."""
    try:
        with warnings.catch_warnings():
            if _DEBUG not in sys.argv:
                warnings.showwarning = _teller()
            app()
    except CAN_HAPPEN as error:
        told = None if _DEBUG in sys.argv else line_of(error)
        if told is None:
            raise
        typer.echo(told, err=True)
        sys.exit(error.exit_code if isinstance(error, MedgraphError) else MedgraphError.exit_code)


@contextmanager
def _interrupted(then: str) -> Iterator[None]:
    """Tell what Ctrl-C leaves, and leave with the exit code of shells for it."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"Interrupted. {then}", err=True)
        raise typer.Exit(130) from None


def _teller() -> Callable[..., None]:
    """Prints each warning once, and its place only where it is not ours: a graph is read for several stages."""
    told: set[str] = set()

    def tell(message: Warning | str, category: type[Warning], filename: str, line: int, *_: Any) -> None:
        ours = Path(filename).is_relative_to(Path(__file__).parent)
        text = f"Warning: {message}" if ours else f"{filename}:{line}: {category.__name__}: {message}"
        if text not in told:
            told.add(text)
            typer.echo(text, err=True)

    return tell


def _report_check(name: str, overrides: list[str], needs_data: bool = False) -> None:
    pipeline, notes = medgraph.check(name, overrides)
    if notes and needs_data:
        raise DataError("\n".join(notes))
    for note in notes:
        typer.echo(f"Note: {note}", err=True)
    rest = f" in the config; the data of {len(notes)} of them were not found, see above" if notes else ""
    typer.echo(f"{pipeline.name}: {len(pipeline.stages)} stages, no mistakes found{rest}.")


def _sources(data_part: dict[str, Any]) -> list[tuple[dict[str, Any], str, dict[str, Any]]]:
    """The sources that a part of the table `data` names, each with its kind and what the part takes of a graph.

    A part that is made of others has theirs; one that names none is described itself. The graph that a fine-tuning
    labels is left out: it is that of the stage it starts from.
    """
    if "graph_data" in data_part:
        return []
    taken = {key: data_part[key] for key in ("metapaths", "top_k") if data_part.get(key) is not None}
    found: list[tuple[dict[str, Any], str, dict[str, Any]]] = []
    for key, value in data_part.items():
        for part in value if isinstance(value, list) else [value]:
            if catalogue.kind_of_key(key) == "sources" and part is not None:
                found.append((part, "sources", taken))
            elif catalogue.kind_of_key(key) == "data" and part is not None:
                found += _sources(part)
    return found or [(data_part, "data", {})]
