"""Whether the frozen rows let a model know what it should predict: the label among the features, rows on both sides.

That holdout partitions come after the training ones, and that no group stands on both sides, is made so when the rows
are frozen (`pipelines.training.rows`); here the frozen files are held to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.settings.gate import Leakage
from pipelines.settings.tasks import VALUE_TASKS
from pipelines.training.metrics import metric
from pipelines.training.policy import Check
from pipelines.training.rows import TARGET

_SAMPLED_ROWS = 50_000
_MOST_NAMED = 5
_LATEST_SHARE = 5  # one training row in five, the latest ones, says how many repeats are usual
# A category with nearly as many values as rows says nothing about rows to come.
_MOST_CATEGORIES = 1_000


@dataclass(frozen=True)
class Sides:
    """Both frozen files, in order of time, and what their columns are: names of features, key and group."""

    train: pa.Table
    holdout: pa.Table
    task: str
    features: dict[str, str]
    key: tuple[str, ...] = ()
    group: tuple[str, ...] = ()


def leakage_checks(sides: Sides, limits: Leakage, is_labelled: bool) -> Iterator[Check]:
    yield from _rows_check(sides, limits)
    if sides.group:
        yield _groups_check(sides)
    if not is_labelled:
        return
    yield _features_check(sides, limits)
    # Pictures are not compared, and two rows without theirs are not the same.
    if "image" not in sides.features.values():
        yield _duplicates_check(sides, limits)


def _rows_check(sides: Sides, limits: Leakage) -> Iterator[Check]:
    """The same record on both sides, and the same key: another record of the same thing, unless each day has it."""
    count = _shared(sides.holdout, sides.train, ("row_id",))
    text = f"{count:,} holdout rows were trained on" if count else "no holdout row was trained on"
    yield Check("rows apart", count == 0, text, numbers={"rows": count})
    if sides.key:
        earlier, latest = _latest(sides.train)
        yield _more_than_usual(
            "keys apart",
            f"have the {' and '.join(sides.key)} of a training row",
            _shared(sides.holdout, sides.train, sides.key) / max(sides.holdout.num_rows, 1),
            _shared(latest, earlier, sides.key) / max(latest.num_rows, 1),
            limits.max_duplicate_share,
        )


def _more_than_usual(name: str, what: str, share: float, usual: float, limit: float) -> Check:
    """What is as usual among training rows will be so among rows to come, and is no leak."""
    text = f"{share:.1%} of the holdout rows {what}, {usual:.1%} is usual among training rows, {limit:.1%} more allowed"
    return Check(name, share - usual <= limit, text, numbers={"share": share, "usual": usual, "limit": limit})


def _latest(train: pa.Table) -> tuple[pa.Table, pa.Table]:
    """All training rows but the latest ones, and these."""
    count = train.num_rows // _LATEST_SHARE
    return train.slice(0, train.num_rows - count), train.slice(train.num_rows - count)


def _groups_check(sides: Sides) -> Check:
    count = _shared(sides.holdout, sides.train, sides.group)
    text = f"{count:,} holdout rows have a {' and '.join(sides.group)} that was trained on"
    return Check("groups apart", count == 0, text, numbers={"rows": count})


def _shared(rows: pa.Table, others: pa.Table, columns: tuple[str, ...]) -> int:
    """Rows whose values in these columns also stand in one of the others; a null is nobody's value."""
    keys = list(columns)
    known = others.select(keys).drop_null().group_by(keys).aggregate([])
    return int(rows.select(keys).drop_null().join(known, keys=keys, join_type="left semi").num_rows)


def _features_check(sides: Sides, limits: Leakage) -> Check:
    """One feature that tells the label nearly alone is rarely a feature."""
    limit = limits.max_feature_correlation if sides.task in VALUE_TASKS else limits.max_feature_auc
    places = np.unique(np.linspace(0, sides.train.num_rows - 1, min(sides.train.num_rows, _SAMPLED_ROWS)).astype(int))
    rows = sides.train.take(pa.array(places))
    found = {name: told_by(rows, name, kind, sides.task) for name, kind in sides.features.items()}
    known = {name: value for name, value in found.items() if value is not None and np.isfinite(value)}
    guilty = sorted(name for name, value in known.items() if value >= limit and name not in limits.accepted_features)
    what = "correlation with the label" if sides.task in VALUE_TASKS else "ROC AUC alone"
    best = max(known, key=lambda name: (known[name], name), default=None)
    if guilty:
        named = ", ".join(f"'{name}' ({known[name]:.4f})" for name in guilty[:_MOST_NAMED])
        text = (
            f"features that know the label: {named}, {what} below {limit:g} expected. If that is right, name them in "
        )
        text += "'gate.leakage.accepted_features'"
    else:
        text = f"no feature tells the label alone: at most {known[best]:.4f} ('{best}')" if best else "no feature tells"
    return Check("features alone", not guilty, text, numbers={"limit": limit, "guilty": guilty, "found": known})


def told_by(rows: pa.Table, name: str, kind: str, task: str) -> float | None:
    """|correlation| with a number, else ROC AUC (of several classes the best one); of a text by what its values mean
    in every other row. Without a value counts as a value. None for what is neither number nor text."""
    target = rows[TARGET].to_numpy()
    if kind == "number":
        values = pc.cast(rows[name], pa.float64()).to_numpy(zero_copy_only=False)
        return _best(values, target, task)
    if kind != "category":
        return None
    codes = rows[name].combine_chunks().dictionary_encode()
    numbers = np.asarray(codes.indices.fill_null(len(codes.dictionary)))
    if len(codes.dictionary) > _MOST_CATEGORIES:
        return None
    learnt, judged = np.arange(len(target)) % 2 == 0, np.arange(len(target)) % 2 == 1
    counts = np.bincount(numbers[learnt], minlength=len(codes.dictionary) + 1)
    found = []
    for wanted in _targets(target, task):
        sums = np.bincount(numbers[learnt], wanted[learnt], len(counts))
        means = np.where(counts > 0, sums / np.maximum(counts, 1), wanted[learnt].mean() if learnt.any() else 0.0)
        found.append(_alone(means[numbers[judged]], wanted[judged], task))
    return max(found, default=None)


def _targets(target: np.ndarray, task: str) -> list[np.ndarray]:
    return [target] if task != "multiclass" else [(target == one).astype(float) for one in np.unique(target)]


def _best(values: np.ndarray, target: np.ndarray, task: str) -> float:
    """By the number itself, or by whether there is one."""
    is_missing = ~np.isfinite(values)
    filled = np.where(is_missing, np.median(values[~is_missing]) if (~is_missing).any() else 0.0, values)
    given = [filled, is_missing.astype(float)] if is_missing.any() else [filled]
    found = [_alone(one, wanted, task) for one in given for wanted in _targets(target, task)]
    return max((one for one in found if np.isfinite(one)), default=float("nan"))


def _alone(values: np.ndarray, target: np.ndarray, task: str) -> float:
    if task in VALUE_TASKS:
        if values.std() == 0 or target.std() == 0:
            return float("nan")
        return float(abs(np.corrcoef(values, target)[0, 1]))
    area = metric("roc_auc", target, values)
    return max(area, 1 - area)


def _duplicates_check(sides: Sides, limits: Leakage) -> Check:
    """Rows that say the same of another event are usual where features are few."""
    train, holdout = (_hashes(one, sorted(sides.features)) for one in (sides.train, sides.holdout))
    latest = len(train) // _LATEST_SHARE
    earlier = train[: len(train) - latest]
    return _more_than_usual(
        "duplicates",
        "repeat all features and the label of a training row",
        float(np.isin(holdout, train).mean()) if len(holdout) else 0.0,
        float(np.isin(train[len(earlier) :], earlier).mean()) if latest else 0.0,
        limits.max_duplicate_share,
    )


def _hashes(table: pa.Table, columns: Sequence[str]) -> np.ndarray:
    """`(n,)` of all features and the label."""
    import pandas as pd

    frame = table.select([*columns, TARGET]).to_pandas()
    numbers = frame.select_dtypes("number").columns
    # Single precision: what a copy through a text file keeps of a number. A missing one equals a missing one.
    frame[numbers] = frame[numbers].astype("float32")
    texts = frame.columns.difference(numbers)
    frame[texts] = frame[texts].astype(str)
    return np.asarray(pd.util.hash_pandas_object(frame, index=False))
