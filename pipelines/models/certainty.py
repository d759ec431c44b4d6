"""What a model says beside its score about how sure it is, as columns; only when `export.confidence` asks for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import pyarrow as pa

from pipelines.models.intervals import Conformal, per_class

CERTAINTY: dict[str, pa.DataType] = {
    "confidence": pa.float64(),
    "prediction_set": pa.list_(pa.string()),
    "prediction_low": pa.float64(),
    "prediction_high": pa.float64(),
}


class Certain(Protocol):
    """What is asked of a model here; see pipelines/models/model.py."""

    @property
    def classes(self) -> list[str]: ...
    @property
    def conformal(self) -> Conformal | None: ...


def certainty_fields(columns: Sequence[str]) -> list[tuple[str, pa.DataType]]:
    """Names and types of `certainty_arrays`."""
    return [(name, CERTAINTY[name]) for name in columns]


def certainty_arrays(
    model: Certain, columns: Sequence[str], uncalibrated: np.ndarray, scores: np.ndarray
) -> list[pa.Array]:
    """These columns for rows with a score. Intervals and sets are null of a model that was trained without them.

    `confidence`: the score of the likeliest class. `prediction_set`: the labels that are to be expected, at least the
    likeliest one, in the order of the model's classes. `prediction_low`, `prediction_high`: in units of the label.
    """
    made = {"confidence": _confidence, "prediction_set": _set, "prediction_low": _low, "prediction_high": _high}
    return [made[name](model, uncalibrated, scores) for name in columns]


def _confidence(_model: Certain, _uncalibrated: np.ndarray, scores: np.ndarray) -> pa.Array:
    return pa.array(per_class(scores).max(axis=1) if len(scores) else np.array([], dtype=np.float64))


def _set(model: Certain, uncalibrated: np.ndarray, scores: np.ndarray) -> pa.Array:
    if model.conformal is None:
        return pa.nulls(len(scores), CERTAINTY["prediction_set"])
    if not len(scores):
        return pa.array([], CERTAINTY["prediction_set"])
    members = model.conformal.members(uncalibrated, scores)
    labels = pa.array([str(label) for label in model.classes], pa.string())
    offsets = np.concatenate([[0], np.cumsum(members.sum(axis=1))]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), labels.take(pa.array(np.nonzero(members)[1])))


def _low(model: Certain, _uncalibrated: np.ndarray, scores: np.ndarray) -> pa.Array:
    return _ends(model, scores)[0]


def _high(model: Certain, _uncalibrated: np.ndarray, scores: np.ndarray) -> pa.Array:
    return _ends(model, scores)[1]


def _ends(model: Certain, scores: np.ndarray) -> tuple[pa.Array, pa.Array]:
    if model.conformal is None:
        return pa.nulls(len(scores), pa.float64()), pa.nulls(len(scores), pa.float64())
    low, high = model.conformal.interval(scores)
    return pa.array(low), pa.array(high)
