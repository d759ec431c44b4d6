"""Segments of rows that nobody labelled: how much a row belongs to each, and names that outlive a retraining."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipelines.errors import DataError, ModelError

if TYPE_CHECKING:
    from pipelines.models.model import Model

_NAME = "segment_"
_COMPARED_ROWS = 20_000


def memberships(fitted: Any, matrix: np.ndarray) -> np.ndarray:
    """`(n_rows, k)` in [0, 1], summing to 1: how much a row belongs to each of the centres of k-means.

    The shares of 1 / distance² (fuzzy memberships, Bezdek 1981, fuzzifier 2): the largest is that of the nearest
    centre, and a row that lies on a centre belongs to it alone. They do not depend on the rows around a row.
    """
    squares = np.column_stack([((matrix - centre) ** 2).sum(axis=1) for centre in fitted.cluster_centers_])
    nearest = squares.min(axis=1, keepdims=True)
    closeness = np.divide(nearest, squares, out=np.ones_like(squares), where=squares > 0)
    return closeness / closeness.sum(axis=1, keepdims=True)


def first_names(belonging: np.ndarray) -> tuple[list[str], dict[str, Any]]:
    """Names for the columns of `memberships`, the largest segment first, and the facts that a model keeps of them.

    `order` says which column each name stands for; `next_segment` is the first number that was never given.
    """
    sizes = np.bincount(belonging.argmax(axis=1), minlength=belonging.shape[1])
    order = np.argsort(-sizes, kind="stable").tolist()
    return [name_of(number) for number in range(1, len(order) + 1)], {"order": order, "next_segment": len(order) + 1}


def name_of(number: int) -> str:
    return f"{_NAME}{number}"


def named_after(model: Model, parent: Model, table: pa.Table) -> Model:
    """The model whose segments have the names of the parent's that hold most of the same rows.

    Pairs are chosen so that as many rows as possible keep their segment (Hungarian assignment on at most 20,000 rows
    of `table`). A segment without a partner gets a number that no segment ever had.
    """
    sample = table.take(pa.array(np.unique(np.linspace(0, table.num_rows - 1, _COMPARED_ROWS).astype(int))))
    try:
        theirs = parent.predict(sample)
    except (DataError, ModelError):  # it needs features that are gone: nothing can be recognised
        theirs = np.full((sample.num_rows, len(parent.classes)), np.nan)
    partners = _partners(model.predict(sample), theirs)
    following = int(parent.facts["next_segment"])
    numbers = []
    for column in range(len(model.classes)):
        if column in partners:
            numbers.append(_number(parent.classes[partners[column]]))
        else:
            numbers.append(following)
            following += 1
    return _with_names(model, numbers, {"next_segment": following, "named_after": parent.version})


def agreement(one: np.ndarray, other: np.ndarray) -> float:
    """Adjusted Rand index of two assignments of the same rows (Hubert & Arabie 1985): 1 is the same, 0 as by chance."""
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(one, other))


def _partners(mine: np.ndarray, theirs: np.ndarray) -> dict[int, int]:
    """Column of the new memberships to column of the parent's."""
    from scipy.optimize import linear_sum_assignment

    usable = np.isfinite(mine).all(axis=1) & np.isfinite(theirs).all(axis=1)
    shared = np.zeros((mine.shape[1], theirs.shape[1]), dtype=np.int64)
    np.add.at(shared, (mine[usable].argmax(axis=1), theirs[usable].argmax(axis=1)), 1)
    pairs = zip(*linear_sum_assignment(shared, maximize=True), strict=True)
    return {int(row): int(column) for row, column in pairs if shared[row, column]}


def _with_names(model: Model, numbers: Sequence[int], facts: Mapping[str, Any]) -> Model:
    """`numbers`: of the model's classes as they are; they are put in the order of the numbers."""
    places = np.argsort(numbers).tolist()
    order = [model.facts["order"][place] for place in places]
    return replace(
        model,
        classes=[name_of(numbers[place]) for place in places],
        facts={**model.facts, "order": order, **facts},
    )


def _number(name: str) -> int:
    return int(name.removeprefix(_NAME))
