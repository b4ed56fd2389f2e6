"""How well a common and a salient code are separated: every attribute probed from both, beside cheap peers."""

import warnings
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from medgraph import checks
from medgraph.data.grouped import Attribute, GroupedImages
from medgraph.errors import DataError
from medgraph.evaluation import attribute_probe, space_plot
from medgraph.evaluation.attribute_probe import PROBES, ProbeData, ProbeScore
from medgraph.evaluation.contrastive_pca import fit_linear_spaces
from medgraph.evaluation.dependence import dependence
from medgraph.evaluation.scores import Scores

_LEAST_EXTENT = 0.1  # of a score above chance: what no space can tell leaves no gap to speak of
_FEWEST = 10  # known examples that a probe is fitted and scored on
_PAIRS = (("common", "salient"), ("PCA", "contrastive PCA"), ("single", "single"))


@dataclass(frozen=True, eq=False)
class _Part:
    """Features of one part of the data, by space."""

    spaces: dict[str, np.ndarray]
    is_target: np.ndarray
    attributes: np.ndarray
    subjects: np.ndarray


class SeparationScores:
    """Probes of every attribute from the common and the salient features of targets, fitted on training targets.

    A row has a score, what chance gives, a 95 % bootstrap interval over subjects, and the number of examples scored:
    balanced accuracy of categories, R squared of numbers, AUC of telling the groups apart. Wanted are salient
    attributes and the group from the salient code, common attributes from the common code, chance elsewhere. Further
    rows: `gap` = normalized score in the right space minus that in the wrong one, ideally 1, normalized by the best
    score of any space; `delta` = sum of distances from what is wanted, ideally 0; dependence of both codes, whose
    interval is that of permuted codes; common attributes from the salient code of the background.

    An encoder without two parts is probed as one space. Attributes known for some examples only are probed on those;
    an attribute with one value is left out with a warning.

    Args:
        probes: Readers of the features: "linear", "neighbors" (20 nearest), "rbf" (support vectors), "mlp".
        with_pca: Also probe PCA and contrastive PCA of the voxels.
        contrast: Weight of the background in contrastive PCA.
        batch_size: Examples encoded at once.
    """

    def __init__(
        self,
        probes: tuple[str, ...] = ("linear", "neighbors"),
        with_pca: bool = True,
        contrast: float = 1.0,
        batch_size: int = 256,
    ):
        self.probes = tuple(checks.one_of("probes", probe, PROBES) for probe in probes)
        self.with_pca = with_pca
        self.contrast = checks.not_negative("contrast", contrast)
        self.batch_size = checks.at_least("batch_size", batch_size, 1)

    def evaluate(self, model: Any, data: Any, device: str = "cpu") -> Scores:
        """Scores of `model.encoder`, which is left in eval mode, on `data.test()`."""
        encoder = model.encoder.eval().to(device)
        train, voxels = self._read(encoder, data.train(), device)
        test, test_voxels = self._read(encoder, data.test(), device)
        if self.with_pca:
            dim = min(64, next(iter(train.spaces.values())).shape[1])
            linear = fit_linear_spaces(voxels, train.is_target, dim, self.contrast, seed=0)
            train.spaces.update(linear.project(voxels))
            test.spaces.update(linear.project(test_voxels))
        rows = self._group_rows(train, test)
        for column, attribute in enumerate(data.attributes):
            rows += self._attribute_rows(attribute, column, train, test)
        rows += self._summary_rows(rows, data.attributes)
        if "salient" in test.spaces:
            rows.append(_dependence_row(test))
        return Scores(rows, figures=_figures(test, data.attributes))

    @torch.no_grad()
    def _read(self, encoder: Any, dataset: GroupedImages, device: str) -> tuple[_Part, np.ndarray]:
        found: dict[str, list[np.ndarray]] = {}
        voxels = []
        for start in range(0, len(dataset), self.batch_size):
            images = dataset.__getitems__(range(start, min(start + self.batch_size, len(dataset)))).images
            both = hasattr(encoder, "parts")
            features = encoder.parts(images.to(device))._asdict() if both else {"single": encoder(images.to(device))}
            for name, values in features.items():
                found.setdefault(name, []).append(values.float().cpu().numpy().astype(np.float64))
            if self.with_pca:
                voxels.append(images.flatten(1).numpy())
        spaces = {name: np.concatenate(parts) for name, parts in found.items()}
        facts = dataset.is_target.numpy(), dataset.attributes.numpy(), dataset.subjects.numpy()
        return _Part(spaces, *facts), np.concatenate(voxels) if voxels else np.empty((0, 0))

    def _group_rows(self, train: _Part, test: _Part) -> list[dict[str, Any]]:
        rows = []
        for space in test.spaces:
            data = ProbeData(
                train.spaces[space], train.is_target.astype(int), test.spaces[space], test.is_target.astype(int),
                test.subjects,
            )  # fmt: skip
            for probe in self.probes:
                score = attribute_probe.probe_group(data, probe)
                rows.append(_row("group, AUC", f"{space}, {probe}", score, len(data.values)))
        return rows

    def _attribute_rows(self, attribute: Attribute, column: int, train: _Part, test: _Part) -> list[dict[str, Any]]:
        name = f"{attribute.name}, {'balanced accuracy' if attribute.num_classes else 'R squared'}"
        rows = []
        for space in test.spaces:
            data = _known(space, column, train, test, on_target=True)
            if (reason := _unusable(data, attribute)) is not None:
                warnings.warn(f"attribute {attribute.name!r} {reason}: it is left out.", stacklevel=3)
                return []
            for probe in self.probes:
                rows.append(_row(name, f"{space}, {probe}", _probe(attribute, data, probe), len(data.values)))
        if attribute.role == "common" and "salient" in test.spaces:
            data = _known("salient", column, train, test, on_target=False)
            if _unusable(data, attribute) is None:
                for probe in self.probes:
                    score = _probe(attribute, data, probe)
                    rows.append(_row(name, f"salient on background, {probe}", score, len(data.values)))
        return rows

    def _summary_rows(self, rows: list[dict[str, Any]], attributes: tuple[Attribute, ...]) -> list[dict[str, Any]]:
        """Gap of each attribute and delta over all of them, by pair of spaces and probe."""
        by_place = {(row["case"], row["label"]): row for row in rows}
        roles = {attribute.name: attribute.role for attribute in attributes} | {"group": "salient"}
        cases = list(dict.fromkeys(row["case"] for row in rows))
        summary = []
        for common, salient in _PAIRS:
            if (cases[0], f"{common}, {self.probes[0]}") not in by_place:
                continue
            title = common if common == salient else f"{common} and {salient}"
            for probe in self.probes:
                delta = 0.0
                for case in cases:
                    all_found = [
                        row["score"] for row in rows if row["case"] == case and "on background" not in row["label"]
                    ]
                    in_common, in_salient = (by_place[case, f"{space}, {probe}"] for space in (common, salient))
                    is_salient = roles[case.rpartition(", ")[0]] == "salient"
                    right, wrong = (in_salient, in_common) if is_salient else (in_common, in_salient)
                    extent = max(*all_found, right["chance"] + _LEAST_EXTENT) - right["chance"]
                    gap = (max(right["score"], right["chance"]) - max(wrong["score"], wrong["chance"])) / extent
                    delta += abs(right["score"] - 1) + abs(max(wrong["score"], wrong["chance"]) - wrong["chance"])
                    summary.append(
                        {"case": f"{case.rpartition(', ')[0]}, gap", "label": f"{title}, {probe}", "score": gap}
                    )
                summary.append({"case": "delta", "label": f"{title}, {probe}", "score": delta})
        return summary


def _known(space: str, column: int, train: _Part, test: _Part, on_target: bool) -> ProbeData:
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


def _probe(attribute: Attribute, data: ProbeData, probe: str) -> ProbeScore:
    return (attribute_probe.probe_category if attribute.num_classes else attribute_probe.probe_number)(data, probe)


def _row(case: str, label: str, score: ProbeScore, count: int) -> dict[str, Any]:
    return {"case": case, "label": label, **asdict(score), "examples": count}


def _dependence_row(test: _Part) -> dict[str, Any]:
    codes = [test.spaces[space][test.is_target] for space in ("common", "salient")]
    if len(codes[0]) < _FEWEST:
        raise DataError(f"{len(codes[0])} test targets, expected {_FEWEST} or more. Give a larger test part.")
    found = dependence(*codes)
    return {
        "case": "dependence, HSIC", "label": "common and salient", "score": found.alignment, "chance": found.permuted,
        "low": found.low, "high": found.high, "examples": len(codes[0]),
    }  # fmt: skip


def _figures(test: _Part, attributes: tuple[Attribute, ...]) -> list[dict[str, str]]:
    shown = {name: features for name, features in test.spaces.items() if "PCA" not in name}
    colors = {"group": test.is_target.astype(float)}
    colors |= {attribute.name: test.attributes[:, column] for column, attribute in enumerate(attributes)}
    categories = {"group", *(attribute.name for attribute in attributes if attribute.num_classes)}
    title = "Spaces of the kept-aside examples by attribute; what is not known is gray"
    return [{"title": title, "png": space_plot.plot_spaces(shown, colors, categories)}]
