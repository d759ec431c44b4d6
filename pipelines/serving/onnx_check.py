"""Whether an ONNX file scores as the model does: on the recorded rows, and on rows that try what they do not hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.models.model import Model
from pipelines.models.prepared_column import number, text
from pipelines.models.preprocess import Preprocess
from pipelines.serving.onnx_features import MISSING
from pipelines.settings.tasks import VALUE_TASKS

# The same arithmetic in other orders, much of it with 32 bits; nobody would call that another score.
TOLERANCE = 1e-5
_TRIED_ROWS = 500
_UNSEEN = "never seen in training"


def tried_rows(model: Model, sample: Mapping[str, Any]) -> pa.Table:
    """The recorded rows, and 500 made from them: values of other rows, missing ones, unseen and far ones.

    The same for the same model.
    """
    random = np.random.default_rng(0)
    known = _categories(model)
    columns: dict[str, pa.Array] = {}
    for name, kind in model.types.items():
        recorded = list(sample["values"][name])
        made = _numbers(recorded, random) if kind == "number" else _texts(recorded, known.get(name, ()), random)
        columns[name] = pa.array([*recorded, *made], pa.float64() if kind == "number" else pa.string())
    return pa.table(columns)


def largest_difference(model: Model, content: bytes, table: pa.Table) -> float:
    """Between both scores of any row, for values in units of the score's size where that is above 1.

    Infinite when only one of them refuses a row.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    found = session.run(["score"], onnx_inputs(table, model.types))[0]
    scores = model.predict(table).reshape(found.shape)
    if not np.array_equal(np.isnan(scores), np.isnan(found)):
        return float("inf")
    apart = np.abs(np.nan_to_num(scores) - np.nan_to_num(found))
    if model.task in VALUE_TASKS:
        apart = apart / np.maximum(1, np.abs(np.nan_to_num(scores)))
    return float(apart.max(initial=0.0))


def onnx_inputs(table: pa.Table, types: Mapping[str, str]) -> dict[str, np.ndarray]:
    """A table of features as the file takes it: float64 with NaN, text with '' for what is missing, each `(n, 1)`."""
    return {
        name: number(table[name])[:, None]
        if kind == "number"
        else np.array([MISSING if one is None else one for one in text(table[name]).to_pylist()], dtype=object)[:, None]
        for name, kind in types.items()
    }


def _categories(model: Model) -> dict[str, tuple[str, ...]]:
    """Of the model, or of all members of an ensemble."""
    members = model.estimator.members.values() if model.family == "ensemble" else [model]
    found: dict[str, tuple[str, ...]] = {}
    for member in members:
        preprocess: Preprocess = member.preprocess
        found |= {column.name: column.categories for column in preprocess.columns if column.categories}
    return found


def _numbers(recorded: list[float | None], random: np.random.Generator) -> list[float | None]:
    values = np.array([one for one in recorded if one is not None] or [0.0, 1.0], dtype=np.float64)
    spread = max(float(np.ptp(values)), 1.0)
    near = random.uniform(values.min() - spread / 4, values.max() + spread / 4, _TRIED_ROWS)
    found = np.where(random.random(_TRIED_ROWS) < 0.5, random.choice(values, _TRIED_ROWS), near)
    found = np.where(random.random(_TRIED_ROWS) < 0.02, found + random.choice([-1e6, 1e6], _TRIED_ROWS), found)
    missing = random.random(_TRIED_ROWS) < 0.1
    return [None if is_missing else float(one) for one, is_missing in zip(found, missing, strict=True)]


def _texts(recorded: list[str | None], known: tuple[str, ...], random: np.random.Generator) -> list[str | None]:
    choices = np.array([*dict.fromkeys([*recorded, *known]), None, _UNSEEN], dtype=object)
    return [None if one is None else str(one) for one in random.choice(choices, _TRIED_ROWS)]
