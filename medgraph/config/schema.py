"""The keys that belong to no constructor: pipeline, stage, training."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from medgraph import checks

# Per kind of stage: keys that must be there, keys that may be there.
STAGE_KEYS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "train": (("data", "method", "train"), ("evaluator", "choose")),
    "evaluate": (("evaluator",), ("data",)),  # without data: those of the stage it starts from
    "compare": (("data", "method", "evaluator", "train", "compare"), ()),
}
NEEDS_START = ("evaluate", "compare")


@dataclass(frozen=True)
class Train:
    """How long and with what a method is trained.

    Attributes:
        epochs: Passes over the training data.
        batch_size: Examples per step.
        optimizer: Part of the table `optimizers`.
        schedule: Part of the table `schedules`.
        precision: Number format of the forward pass.
        accumulate: Steps whose gradients are added up before the optimiser moves.
        clip_norm: Largest norm of the gradient; none for no limit.
        num_workers: Processes that load data; 0 loads in the main one.
        grad_cache_chunks: Chunks in which the encoder sees a batch: memory of one of them, at the price of a second
            forward pass; 1 for the whole batch at once.
        steps_per_epoch: Ends an epoch after so many steps; none for all batches.
        patience: Stops after so many epochs without a new minimum of the training loss, or of the validation error
            where the method has one; none trains all epochs.
        keep: With patience, the weights that training leaves: of the "best" epoch, or of the "last".
        ema: Decay of a moving average of the weights, 0.999 say; training leaves the average in their place. None
            leaves the weights of the last step.
        members: Networks trained one after another, from as many seeds, on the same data; 100 at most. The encoder
            gives their vectors side by side, see `nn.ensemble`; a fine-tuned model answers with the mean of their
            probabilities, see `runner.committee`. Where the stage chooses, of what is kept alone.
        self_training: Times that a network which segments labels the training volumes whose labels are not used, and
            one is trained anew, from the same start and seed, on these labels and the true ones.
    """

    epochs: int
    batch_size: int
    optimizer: dict[str, Any]
    schedule: dict[str, Any]
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    accumulate: int = 1
    clip_norm: float | None = None
    num_workers: int = 0
    grad_cache_chunks: int = 1
    steps_per_epoch: int | None = None
    patience: int | None = None
    keep: Literal["best", "last"] = "best"
    ema: float | None = None
    members: int = 1
    self_training: int = 0

    def __post_init__(self) -> None:
        checks.at_least("epochs", self.epochs, 1)
        checks.between("members", self.members, 1, 100)
        checks.at_least("self_training", self.self_training, 0)
        checks.at_least("batch_size", self.batch_size, 1)
        checks.at_least("accumulate", self.accumulate, 1)
        checks.at_least("num_workers", self.num_workers, 0)
        checks.at_least("grad_cache_chunks", self.grad_cache_chunks, 1)
        if self.clip_norm is not None:
            checks.positive("clip_norm", self.clip_norm)
        if self.steps_per_epoch is not None:
            checks.at_least("steps_per_epoch", self.steps_per_epoch, 1)
        if self.patience is not None:
            checks.at_least("patience", self.patience, 1)
        if self.ema is not None:
            checks.between("ema", self.ema, 0.0, 0.999999)
        if self.keep == "last" and self.patience is None:
            raise ValueError("keep: has no effect without patience; remove this line")


@dataclass(frozen=True)
class Compare:
    """Which fine-tuning runs a `compare` stage makes: pretrained, from scratch and, at will, from a foreign encoder.

    Attributes:
        num_labelled: Numbers of labelled training subjects, or shares of them, one run of each arm for each: 1 is one
            subject, 0.1 a tenth of all, rounded up; "all" takes all of them.
        seeds: Seeds, one run of each arm for each.
        foreign: Folder of an encoder from elsewhere, as `medgraph adopt` writes it, for a third arm. It may be of
            another architecture than the method's encoder, which it replaces.
    """

    num_labelled: list[int | float | Literal["all"]]
    seeds: list[int]
    foreign: str | None = None

    def __post_init__(self) -> None:
        for value in self.num_labelled:
            if not isinstance(value, str):
                checks.count_or_share("num_labelled", value, 1)
        for seed in self.seeds:
            checks.at_least("seeds", seed, 0)
        given: dict[str, Sequence[int | float | str]] = {"num_labelled": self.num_labelled, "seeds": self.seeds}
        for name, values in given.items():
            checks.at_least(f"{name}: length", len(values), 1)
            if len(set(values)) < len(values):
                raise ValueError(f"{name}: expected different values, got {values}")


@dataclass(frozen=True)
class Smooth:
    """One way to average features over the targets whose features are most alike, see `hetero.smoothed`.

    Attributes:
        num_neighbors: So many targets, itself included.
        rounds: How often features are averaged.
        symmetric: Average over those whose neighbor a target is, too.
    """

    num_neighbors: int
    rounds: int = 1
    symmetric: bool = False

    def __post_init__(self) -> None:
        checks.at_least("num_neighbors", self.num_neighbors, 2)
        checks.at_least("rounds", self.rounds, 1)


@dataclass(frozen=True)
class Choose:
    """Candidates that a `train` stage trains one after another, to keep the one that is best on validation.

    Attributes:
        evaluator: What scores them: one that can score validation alone. No test label is read.
        candidates: Per name, what is other there than in the stage, by dotted key: `{data.top_k: [10]}`; `{}` is the
            stage as it stands. Of equally good ones the first is kept.
        join: Put the networks of all candidates side by side, as with `members`, and keep that if it scores higher on
            validation than what is kept alone. Of whole graphs.
        smooth: Per name, a way to average features over the targets whose features are most alike, `Smooth`; the best
            of them is kept if it scores higher on validation than what is not averaged. Under `join`, of the best
            alone and of all side by side. Of whole graphs.
    """

    evaluator: dict[str, Any]
    candidates: dict[str, dict[str, object]]
    join: bool = False
    smooth: dict[str, object] | None = None

    def __post_init__(self) -> None:
        checks.at_least("candidates: number", len(self.candidates), 2)


@dataclass(frozen=True)
class Stage:
    """One checked stage. Parts are plain dicts: "name" and every argument, defaults written out.

    Attributes:
        name: Key of the stage in the pipeline.
        kind: One of `STAGE_KEYS`.
        start_from: Earlier stage whose encoder this one takes.
        data, method, evaluator: Parts, or None where the kind has none.
        train, compare, choose: Settings, or None where the kind has none.
        config_path: File the stage came from; None when written inside the pipeline.
        digest: Hash of the stage, the seed and all that it starts from.
        candidates: The stages that `choose` chooses from, by name; none without it.
    """

    name: str
    kind: str
    start_from: Any  # Any, not "| None": STAGE_KEYS says which kinds have it, and the check has made sure
    data: Any
    method: Any
    evaluator: Any
    train: Any
    compare: Any
    config_path: str | None
    digest: str
    choose: Any = None
    candidates: dict[str, "Stage"] = field(default_factory=dict)

    @property
    def encoder(self) -> dict[str, Any]:
        """The part that describes the encoder which a stage with a method leaves: one network, or its members'."""
        one = self.method["encoder"]
        return one if self.train.members == 1 else {"name": "ensemble", "encoders": [one] * self.train.members}


@dataclass(frozen=True)
class Pipeline:
    """A checked pipeline.

    Attributes:
        name: What the run is called.
        seed: Seed of everything random.
        stages: Stages by name, in order.
        overrides: What the command line changed.
        origins: Place in a file of every key path, for messages.
    """

    name: str
    seed: int
    stages: dict[str, Stage]
    overrides: tuple[str, ...] = ()
    origins: dict[str, str] = field(default_factory=dict, repr=False, compare=False)
