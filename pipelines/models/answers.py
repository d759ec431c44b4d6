"""What a model answers for rows, as columns: scores, the likeliest class, and why a row has none.

The batch scores and a model that is served elsewhere both answer with these.
"""

from __future__ import annotations

import re
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.errors import ModelError, names
from pipelines.settings.tasks import WIDE_TASKS


class Answering(Protocol):
    """What is asked of a model here; see pipelines/models/model.py."""

    @property
    def task(self) -> str: ...
    @property
    def classes(self) -> list[str]: ...
    @property
    def version(self) -> int: ...


def answer_fields(model: Answering) -> list[tuple[str, pa.DataType]]:
    """Names and types of `answer_arrays`."""
    fields = [("score", pa.float64())]
    if model.task in WIDE_TASKS:
        fields += [("predicted_label", pa.string()), *((name, pa.float64()) for name in _class_columns(model))]
    return fields


def answer_arrays(model: Answering, scores: np.ndarray) -> list[pa.Array]:
    """Columns of `answer_fields` from scores of shape `(n,)` or `(n, n_classes)`, all of them finite."""
    if model.task not in WIDE_TASKS:
        return [pa.array(scores)]
    best = scores.argmax(axis=1) if len(scores) else np.array([], dtype=np.int64)
    labels = pa.array([str(label) for label in model.classes], pa.string()).take(pa.array(best))
    return [pa.array(scores.max(axis=1)), labels, *(pa.array(column) for column in scores.T)]


def is_answered(scores: np.ndarray) -> np.ndarray:
    """`(n,)` True where the model gave a score: it refuses a row by giving NaN."""
    return np.isfinite(scores).all(axis=1) if scores.ndim == 2 else np.isfinite(scores)


def refusals(features: pa.Table) -> pa.Array:
    """Why each of these rows has no score: the features that are null in it."""
    nulls = {name: pc.is_null(features[name], nan_is_null=True).to_numpy() for name in features.column_names}
    texts = []
    for row in range(features.num_rows):
        missing = [name for name, mask in nulls.items() if mask[row]]
        because = f"null features: {', '.join(missing[:5])}" if missing else "no feature is null"
        texts.append(f"SCORE_MISSING: the model gives no finite score ({because})")
    return pa.array(texts, pa.string())


def _class_columns(model: Answering) -> list[str]:
    """`score_<class>`; what a table column may not hold becomes '_'."""
    columns = ["score_" + re.sub(r"\W", "_", str(label)) for label in model.classes]
    if len(set(columns)) != len(columns):
        raise ModelError(
            "E-SCORE-CLASSES", f"v{model.version}", f"class names must differ in letters: {names(columns)}"
        )
    return columns
