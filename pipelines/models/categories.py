"""Categories as numbers: the mean label of a category's training rows, or how frequent it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.settings.preparation import Frequency, Target

# Beyond these the rarest categories count as unseen: a leaked id must not grow the model without bound.
MOST_CATEGORIES = 100_000


@dataclass(frozen=True)
class CategoryEncoder:
    """`values` has a row for each category in order, then for a missing value, then for an unseen category.

    Its columns are `center` and `scale` apart from what the model sees, and `classes` are theirs, for several classes.
    """

    settings: Target | Frequency
    categories: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]
    classes: tuple[str, ...] = ()
    center: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()

    def names(self, feature: str) -> list[str]:
        """Names of the columns that it makes of the feature."""
        kind = self.settings.encoder
        return [f"{feature} ({kind} {one})" for one in self.classes] or [f"{feature} ({kind})"]

    def transform(self, texts: pa.ChunkedArray) -> np.ndarray:
        """`(n_rows, n_columns)`, never missing."""
        return self.scaled(np.array(self.values)[numbers_of(texts, self.categories)])

    def scaled(self, values: np.ndarray) -> np.ndarray:
        """`(n_rows, n_columns)` as the model sees them."""
        return (values - np.array(self.center)) / np.array(self.scale) if self.scale else values

    def with_scale(self, center: np.ndarray, scale: np.ndarray) -> CategoryEncoder:
        return replace(self, center=tuple(center.tolist()), scale=tuple(scale.tolist()))

    def to_dict(self) -> dict[str, Any]:
        lists = {name: list(getattr(self, name)) for name in ("categories", "classes", "center", "scale")}
        return {
            "settings": self.settings.model_dump(mode="json"),
            **lists,
            "values": [list(row) for row in self.values],
        }

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> CategoryEncoder:
        kind = Target if saved["settings"]["encoder"] == "target" else Frequency
        lists = {name: tuple(saved[name]) for name in ("categories", "classes", "center", "scale")}
        return cls(kind.model_validate(saved["settings"]), values=tuple(tuple(row) for row in saved["values"]), **lists)


def fit_frequency(settings: Frequency, texts: pa.ChunkedArray) -> CategoryEncoder:
    """Shares of rows; they tell nothing of a label, so that training rows are encoded like all others."""
    categories = frequent(texts)
    counts = np.bincount(numbers_of(texts, categories), minlength=len(categories) + 2)
    # Those that are too rare to be kept are unseen from now on, in training rows, too.
    shares = np.append(counts[:-1], 0) / max(1, len(texts))
    return CategoryEncoder(settings, categories, tuple((share,) for share in shares.tolist()))


def fit_target(
    settings: Target,
    texts: pa.ChunkedArray,
    target: np.ndarray,
    weight: np.ndarray | None,
    fold: np.ndarray,
    classes: list[str],
) -> tuple[CategoryEncoder, np.ndarray]:
    """The encoder of all rows, and the training rows' own values `(n_rows, n_columns)`, each by the other folds' rows.

    `target`: values or, with `classes`, class numbers. A category that the other folds do not have is worth the mean of
    all rows, as an unseen one is in scoring: the mean of the other folds would tell in which fold a row is.
    Source: Micci-Barreca 2001, "A Preprocessing Scheme for High-Cardinality Categorical Attributes", with a constant
    number of rows for the mean.
    """
    categories = frequent(texts)
    codes = numbers_of(texts, categories)
    outcome = (target[:, None] == np.arange(len(classes))).astype(np.float64) if classes else target[:, None]
    weights = np.ones(len(target)) if weight is None else weight
    prior = np.average(outcome, axis=0, weights=weights)

    def means(rows: np.ndarray) -> np.ndarray:
        sums = _sums(codes[rows], outcome[rows] * weights[rows, None], len(categories) + 2)
        counts = _sums(codes[rows], weights[rows, None], len(categories) + 2) + settings.smoothing
        return np.where(counts > 0, (sums + settings.smoothing * prior) / np.where(counts > 0, counts, 1), prior)

    unseen = np.empty_like(outcome)
    for number in np.unique(fold).tolist():
        inside = fold == number
        unseen[inside] = means(~inside)[codes[inside]]
    values = tuple(tuple(row) for row in means(np.ones(len(target), dtype=bool)).tolist())
    return CategoryEncoder(settings, categories, values, tuple(classes)), unseen


def frequent(texts: pa.ChunkedArray) -> tuple[str, ...]:
    """By name, at most `MOST_CATEGORIES` of them: the most frequent ones, of equals the first by name."""
    counts = sorted(
        ((str(entry["values"]), int(entry["counts"])) for entry in texts.drop_null().value_counts().to_pylist()),
        key=lambda pair: (-pair[1], pair[0]),
    )
    return tuple(sorted(category for category, _count in counts[:MOST_CATEGORIES]))


def numbers_of(texts: pa.ChunkedArray, categories: tuple[str, ...]) -> np.ndarray:
    """`(n_rows,)` place of each category; one behind the last for a missing value, two for an unseen category."""
    known = pa.array(categories, pa.string())
    places = pc.fill_null(pc.index_in(texts, value_set=known), len(categories) + 1)
    return pc.if_else(pc.is_null(texts), len(categories), places).to_numpy().astype(np.int64)


def _sums(codes: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    return np.column_stack([np.bincount(codes, column, minlength=count) for column in values.T])
