"""How well a common and a salient code are separated: every attribute probed from both, beside cheap peers."""

import warnings
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from medgraph import checks
from medgraph.data.grouped import Attribute
from medgraph.evaluation import attribute_probe, code_rows, disentanglement, retrieval_plot, space_plot
from medgraph.evaluation.attribute_probe import PROBES, ProbeData, ProbeScore
from medgraph.evaluation.scores import Scores
from medgraph.evaluation.spaces import CODES, NOISY, UNTRAINED, Part, Peers, read_spaces

_LEAST_EXTENT = 0.1  # of a score above chance: what no space can tell leaves no gap to speak of
_FEWEST = 10  # known examples that a probe is fitted and scored on
_DIGITS = 4  # of stored resampled scores
_ON_BACKGROUND = " on background"  # in labels of rows whose classes, and so whose chance, may not be the targets'
_PAIRS = (
    ("common", "salient"),
    ("common" + CODES, "salient" + CODES),
    (UNTRAINED + "common", UNTRAINED + "salient"),
    ("PCA", "contrastive PCA"),
    ("single", "single"),
    (UNTRAINED + "single", UNTRAINED + "single"),
)


class _Table:
    """Rows as they are found, and the scores of resampled subjects behind them."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.drawn: dict[tuple[str, str], np.ndarray] = {}

    def add(self, case: str, label: str, score: ProbeScore, count: int) -> None:
        """A row of a probe."""
        found = {"score": score.score, "chance": score.chance, "low": score.low, "high": score.high}
        errors = {} if score.errors is None else {"mae": score.errors[0], "mae_of_mean": score.errors[1]}
        self.rows.append({"case": case, "label": label, **found, "examples": count, **errors})
        self.drawn[case, label] = np.concatenate([[score.score], score.resampled])

    def add_curve(self, case: str, label: str, curve: np.ndarray) -> None:
        """A row made of other rows: its score first, then those of resampled subjects."""
        low, high = np.nanpercentile(curve[1:], (2.5, 97.5))
        self.rows.append(
            {"case": case, "label": label, "score": float(curve[0]), "low": float(low), "high": float(high)}
        )
        self.drawn[case, label] = curve

    def resampled(self) -> list[dict[str, Any]]:
        """What `Scores` keeps of it."""
        return [
            {"case": case, "label": label, "scores": np.round(curve[1:], _DIGITS).tolist()}
            for (case, label), curve in self.drawn.items()
        ]


class SeparationScores:
    """Probes of every attribute from the common and the salient features of targets, fitted on training targets.

    A row has a score, what chance gives, a 95 % bootstrap interval over subjects, and the number of examples scored:
    balanced accuracy of categories, R squared of numbers (and mean absolute error, beside that of guessing their mean),
    AUC of telling the groups apart. Wanted are salient attributes and the group from the salient code, common
    attributes from the common code, chance elsewhere. Further rows: `gap` = normalized score in the right space minus
    that in the wrong one, ideally 1, normalized by the best score of any trained or PCA space; `delta` = sum of
    distances from what is wanted, ideally 0; dependence of both codes, over one target of each subject, whose interval
    is that of permuted codes, with its p-value; common attributes from the salient code of the background, and the size
    of that code against the targets'.

    An encoder without two parts is probed as one space. Where each salient dimension was trained on an attribute, all
    attributes are probed from each dimension too. Attributes known for some examples only are probed on those; an
    attribute with one value is left out with a warning.

    Args:
        probes: Readers of the features: "linear", "neighbors" (20 nearest), "rbf" (support vectors), "mlp".
        with_pca: Also probe PCA and contrastive PCA of the voxels.
        with_codes: Also probe what the losses saw, the projectors' outputs; the salient one with noise as well.
        with_untrained: Also probe the encoder with its weights drawn again.
        contrast: Weight of the background in contrastive PCA.
        batch_size: Examples encoded at once.
        part: "test", or "validation" for making choices.
        most_fitted: Training examples that a probe is fitted on, drawn from more; None takes all, which takes long.
    """

    def __init__(
        self,
        probes: tuple[str, ...] = ("linear", "neighbors"),
        with_pca: bool = True,
        with_codes: bool = True,
        with_untrained: bool = True,
        contrast: float = 1.0,
        batch_size: int = 256,
        part: str = "test",
        most_fitted: int | None = 3000,
    ):
        self.probes = tuple(checks.one_of("probes", probe, PROBES) for probe in probes)
        checks.at_least("number of probes", len(self.probes), 1)
        self.with_pca, self.with_codes, self.with_untrained = with_pca, with_codes, with_untrained
        self.contrast = checks.not_negative("contrast", contrast)
        self.batch_size = checks.at_least("batch_size", batch_size, 1)
        self.part = checks.one_of("part", part, ("test", "validation"))
        self.most_fitted = most_fitted
        if most_fitted is not None:
            checks.at_least("most_fitted", most_fitted, _FEWEST)

    def evaluate(self, model: Any, data: Any, device: str = "cpu") -> Scores:
        """Scores of `model.encoder`, which is left in eval mode, on `data.test()` or `data.validation()`."""
        kept = data.test() if self.part == "test" else data.validation()
        peers = Peers(self.with_codes, self.with_untrained, self.with_pca, self.contrast)
        train, test = read_spaces(model, data.train(), kept, peers, self.batch_size, device)
        table = _Table()
        self._add_group(table, train, test)
        for column, attribute in enumerate(data.attributes):
            self._add_attribute(table, attribute, column, train, test)
        _add_summary(table, data.attributes, self.probes, test.spaces)
        figures = _figures(test, data.attributes, lambda rows: kept.__getitems__(rows).images.numpy())
        if "salient" in test.spaces:
            table.rows += [*code_rows.norms(test), *code_rows.dependences(test, _FEWEST)]
            names = getattr(model, "attribute_names", ())
            figures += self._add_dimensions(table, names, data.attributes, train, test) if names else []
        return Scores(table.rows, figures=figures, resampled=table.resampled())

    def _add_group(self, table: _Table, train: Part, test: Part) -> None:
        for space in test.spaces:
            data = ProbeData(
                train.spaces[space], train.is_target.astype(int), test.spaces[space], test.is_target.astype(int),
                test.subjects, self.most_fitted,
            )  # fmt: skip
            for probe in self.probes:
                score = attribute_probe.probe_group(data, probe)
                table.add("group, AUC", f"{space}, {probe}", score, len(data.values))

    def _add_attribute(self, table: _Table, attribute: Attribute, column: int, train: Part, test: Part) -> None:
        case = _case(attribute)
        reason = _unusable(_known(next(iter(test.spaces)), column, train, test, on_target=True), attribute)
        if reason is not None:
            warnings.warn(f"attribute {attribute.name!r} {reason}: it is left out.", stacklevel=3)
            return
        for space in test.spaces:
            data = _known(space, column, train, test, on_target=True)
            for probe in self.probes:
                table.add(case, f"{space}, {probe}", self._probe(attribute, data, probe), len(data.values))
        if attribute.role != "common":
            return
        for space in ("salient", "salient" + CODES, "salient" + NOISY):
            if space not in test.spaces:
                continue
            data = _known(space, column, train, test, on_target=False)
            if _unusable(data, attribute) is None:
                for probe in self.probes:
                    score = self._probe(attribute, data, probe)
                    table.add(case, f"{space}{_ON_BACKGROUND}, {probe}", score, len(data.values))

    def _probe(self, attribute: Attribute, data: ProbeData, probe: str) -> ProbeScore:
        score = attribute_probe.probe_category if attribute.num_classes else attribute_probe.probe_number
        return score(replace(data, most_fitted=self.most_fitted), probe)

    def _add_dimensions(
        self, table: _Table, names: Iterable[str], attributes: tuple[Attribute, ...], train: Part, test: Part
    ) -> list[dict[str, str]]:
        """Every attribute from every salient dimension alone; disentanglement and completeness; the matrix drawn."""
        titles = [f"dimension {n + 1} ({name})" for n, name in enumerate(names)]
        usable = [
            (column, one) for column, one in enumerate(attributes)
            if _unusable(_known("salient", column, train, test, on_target=True), one) is None
        ]  # fmt: skip
        for column, attribute in usable:
            data = _known("salient", column, train, test, on_target=True)
            for number, title in enumerate(titles):
                one = slice(number, number + 1)
                alone = ProbeData(
                    data.fit_features[:, one], data.fit_values, data.features[:, one], data.values, data.subjects
                )
                for probe in self.probes:
                    score = self._probe(attribute, alone, probe)
                    table.add(_case(attribute), f"{title}, {probe}", score, len(data.values))
        shown, probe = [one for _, one in usable], self.probes[-1]
        matrix = [[table.drawn[_case(one), f"{title}, {probe}"][0] for one in shown] for title in titles]
        own = [(column, one) for column, one in usable if one.name in set(names)]
        if own:
            chosen = test.attributes[test.is_target][:, [column for column, _ in own]]
            found = disentanglement.dci(
                disentanglement.importances(
                    test.spaces["salient"][test.is_target], chosen, [one.num_classes > 0 for _, one in own]
                )
            )
            table.rows += [
                {"case": "DCI", "label": "disentanglement", "score": found.disentanglement},
                {"case": "DCI", "label": "completeness", "score": found.completeness},
            ]
        title = f"Each attribute from each salient dimension alone ({probe}): R squared, or balanced accuracy"
        columns = [one.name for one in shown]
        return [{"title": title, "png": disentanglement.plot_matrix(np.array(matrix), titles, columns)}]


def _add_summary(
    table: _Table, attributes: tuple[Attribute, ...], probes: tuple[str, ...], spaces: Iterable[str]
) -> None:
    """Gap of each attribute and delta over all of them, by pair of spaces and probe."""
    roles = {attribute.name: attribute.role for attribute in attributes} | {"group": "salient"}
    chance_of = {row["case"]: row["chance"] for row in table.rows if _ON_BACKGROUND not in row["label"]}
    counted = [name for name in spaces if not (name.endswith((CODES, NOISY)) or name.startswith(UNTRAINED))]
    best = {
        case: np.max([table.drawn[case, f"{space}, {probe}"] for space in counted for probe in probes], axis=0)
        for case in chance_of
    }
    for common, salient in _PAIRS:
        if (next(iter(chance_of)), f"{common}, {probes[0]}") not in table.drawn:
            continue
        title = common if common == salient else f"{common} and {salient}"
        for probe in probes:
            delta: Any = 0.0
            for case, chance in chance_of.items():
                name = case.rpartition(", ")[0]
                places = (salient, common) if roles[name] == "salient" else (common, salient)
                right, wrong = (table.drawn[case, f"{space}, {probe}"] for space in places)
                extent = np.maximum(best[case], chance + _LEAST_EXTENT) - chance
                gap = (np.maximum(right, chance) - np.maximum(wrong, chance)) / extent
                delta = delta + np.abs(right - 1) + np.maximum(wrong, chance) - chance
                table.add_curve(f"{name}, gap", f"{title}, {probe}", gap)
            table.add_curve("delta", f"{title}, {probe}", delta)


def _case(attribute: Attribute) -> str:
    return f"{attribute.name}, {'balanced accuracy' if attribute.num_classes else 'R squared'}"


def _known(space: str, column: int, train: Part, test: Part, on_target: bool) -> ProbeData:
    """Examples of one group whose attribute is known."""
    pieces = []
    for part in (train, test):
        chosen = (part.is_target == on_target) & ~np.isnan(part.attributes[:, column])
        pieces.append((part.spaces[space][chosen], part.attributes[chosen, column], part.subjects[chosen]))
    (fit_features, fit_values, _), (features, values, subjects) = pieces
    return ProbeData(fit_features, fit_values, features, values, subjects)


def _unusable(data: ProbeData, attribute: Attribute) -> str | None:
    """Why an attribute cannot be probed; None if it can."""
    for where, values in (("training", data.fit_values), ("test", data.values)):
        if len(values) < _FEWEST:
            return f"is known for {len(values)} {where} examples, expected {_FEWEST} or more"
        if len(np.unique(values)) < 2:
            return f"is constant in the {where} part ({values[0]:g} for all {len(values)} examples)"
    if attribute.num_classes and not set(np.unique(data.values)) <= set(np.unique(data.fit_values)):
        return "has classes in the test part that no training example has"
    return None


def _figures(test: Part, attributes: tuple[Attribute, ...], images: Any) -> list[dict[str, str]]:
    """The trained encoder's spaces by attribute, and the nearest neighbors of a few targets in each."""
    own = {name: found for name, found in test.spaces.items() if name in ("common", "salient", "single")}
    colors = {"group": test.is_target.astype(float)}
    colors |= {attribute.name: test.attributes[:, column] for column, attribute in enumerate(attributes)}
    categories = {"group", *(attribute.name for attribute in attributes if attribute.num_classes)}
    title = "Spaces of the kept-aside examples by attribute; what is not known is gray"
    figures = [{"title": title, "png": space_plot.plot_spaces(own, colors, categories)}]
    targets = np.flatnonzero(test.is_target)
    near = {name: features[targets] for name, features in own.items()}
    png = retrieval_plot.plot_neighbors(
        near, test.subjects[targets], lambda rows: images([int(n) for n in targets[rows]])
    )
    return [*figures, {"title": "Targets and their nearest neighbors of other subjects in each space", "png": png}]
