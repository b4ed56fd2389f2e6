"""How well one attribute is read from features: a probe, its score on kept-aside examples, and how sure that is."""

import dataclasses
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR

PROBES = ("linear", "neighbors", "rbf", "mlp")
_MOST_FITTED = 3000  # examples that a probe is fitted on: more changes little and takes long
_RESAMPLES = 300


@dataclass(frozen=True, eq=False)
class ProbeScore:
    """Score of a probe, what guessing gives, and the ends of a 95 % bootstrap interval over subjects.

    `resampled` are the scores when subjects are drawn again: with the same draws for every probe of the same subjects.
    `errors` are the mean absolute error of a number, and that of always guessing its mean; None of a category.
    """

    score: float
    chance: float
    low: float
    high: float
    resampled: np.ndarray
    errors: tuple[float, float] | None = None


@dataclass(frozen=True, eq=False)
class ProbeData:
    """Features, values of one attribute, and subjects of examples, for fitting and for scoring.

    Attributes:
        fit_features, fit_values: `(n, d)` and `(n,)`.
        features, values, subjects: Kept-aside examples `(m, d)`, `(m,)`, `(m,)`.
        most_fitted: Examples that a probe is fitted on, drawn from more; None takes all.
    """

    fit_features: np.ndarray
    fit_values: np.ndarray
    features: np.ndarray
    values: np.ndarray
    subjects: np.ndarray
    most_fitted: int | None = _MOST_FITTED


def probe_category(data: ProbeData, probe: str, seed: int = 0) -> ProbeScore:
    """Balanced accuracy of a classifier; chance is one over the number of classes."""
    predicted = _fitted(data, probe, True, seed).predict(data.features)
    right = (predicted == data.values).astype(float)
    classes = np.unique(data.values)

    def score(weights: np.ndarray) -> np.ndarray:
        recalls = []
        for value in classes:
            mine = weights * (data.values == value)
            total = mine.sum(axis=1)
            recalls.append(np.where(total > 0, mine @ right / np.maximum(total, 1e-12), np.nan))
        return np.nanmean(recalls, axis=0)

    return _with_interval(score, data.subjects, 1 / len(classes), seed)


def probe_number(data: ProbeData, probe: str, seed: int = 0) -> ProbeScore:
    """R squared of a regression against the mean of the kept-aside values, chance is 0; and its mean absolute error."""
    values = data.values.astype(float)
    misses = _fitted(data, probe, False, seed).predict(data.features) - values
    errors = np.square(misses)
    apart = values - values.mean()  # squares of dates themselves leave no digits for how far they lie apart

    def score(weights: np.ndarray) -> np.ndarray:
        total = weights.sum(axis=1)
        mean = weights @ apart / total
        spread = weights @ np.square(apart) / total - np.square(mean)
        return 1 - weights @ errors / total / np.maximum(spread, 1e-12)

    absolute = float(np.abs(misses).mean()), float(np.abs(values - values.mean()).mean())
    return dataclasses.replace(_with_interval(score, data.subjects, 0.0, seed), errors=absolute)


def probe_group(data: ProbeData, probe: str, seed: int = 0) -> ProbeScore:
    """Area under the ROC curve of telling targets (1) from background (0); chance is 0.5."""
    classifier = _fitted(data, probe, True, seed)
    if hasattr(classifier, "predict_proba"):
        found = classifier.predict_proba(data.features)[:, 1]
    else:
        found = classifier.decision_function(data.features)

    def score(weights: np.ndarray) -> np.ndarray:
        return _auc(data.values, found, weights)

    return _with_interval(score, data.subjects, 0.5, seed)


def _auc(values: np.ndarray, found: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Area under the curve for each row of weights (b, n); ties count half, and one group alone gives NaN."""
    order = np.argsort(found, kind="stable")
    starts = np.flatnonzero(np.diff(found[order], prepend=-np.inf))  # where a new value of `found` begins
    positive, negative = (np.add.reduceat((weights * (values == group))[:, order], starts, axis=1) for group in (1, 0))
    below = np.cumsum(negative, axis=1) - negative / 2
    total = positive.sum(axis=1) * negative.sum(axis=1)
    return np.where(total > 0, (positive * below).sum(axis=1) / np.maximum(total, 1e-12), np.nan)


def _fitted(data: ProbeData, probe: str, is_category: bool, seed: int) -> Any:
    features, values = data.fit_features, data.fit_values
    if data.most_fitted is not None and len(values) > data.most_fitted:
        chosen = np.random.default_rng(seed).choice(len(values), data.most_fitted, replace=False)
        features, values = features[chosen], values[chosen]
    model = make_pipeline(StandardScaler(), _model(probe, is_category, len(values), seed))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=ConvergenceWarning)  # a probe that stopped early still scores
        return model.fit(features, values.astype(int) if is_category else values)


def _model(probe: str, is_category: bool, count: int, seed: int) -> Any:
    if probe == "linear":
        if is_category:
            return LogisticRegression(max_iter=1000, class_weight="balanced")
        return RidgeCV(alphas=np.logspace(-2, 4, 7))
    if probe == "neighbors":
        return (KNeighborsClassifier if is_category else KNeighborsRegressor)(min(20, count))
    if probe == "rbf":
        return SVC(class_weight="balanced") if is_category else SVR()
    kind = MLPClassifier if is_category else MLPRegressor
    return kind(hidden_layer_sizes=(64,), max_iter=100, early_stopping=count >= 50, random_state=seed)


def _with_interval(score: Any, subjects: np.ndarray, chance: float, seed: int) -> ProbeScore:
    """The score, and its percentiles when whole subjects are drawn again with replacement."""
    names, number = np.unique(subjects, return_inverse=True)
    drawn = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=_RESAMPLES)
    value = float(score(np.ones((1, len(subjects))))[0])
    resampled = score(drawn[:, number].astype(float))
    low, high = np.nanpercentile(resampled, (2.5, 97.5))
    return ProbeScore(value, chance, float(low), float(high), resampled)
