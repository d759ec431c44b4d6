"""A few rows of the holdout with their scores, kept with a version: proof years later that it still scores the same."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.models.model import Model

_MOST_ROWS = 20
_MOST_VALUES = 4000  # rows times features: it lies in the ledger
_MOST_CHARACTERS = 100_000  # of their texts and images
# The same files on another machine may round the last digit of a float32 differently; nobody would call that another
# model.
TOLERANCE = 1e-6


def predictions_digest(scores: np.ndarray) -> str:
    """sha256 of the scores as little-endian float64, 32 hex digits; `(n,)` or `(n, k)`."""
    return hashlib.sha256(np.ascontiguousarray(scores, dtype="<f8").tobytes()).hexdigest()[:32]


def take_sample(model: Model, table: pa.Table) -> dict[str, Any]:
    """`{"values": {feature: [...]}, "scores": [...]}` of rows spread over `table`, as JSON can hold them.

    Scored as `compare_sample` scores them later. Rows that the model refuses are left out. Of an image its pixels in
    base64.
    """
    rows = pa.table({name: _presentable(table[name], kind) for name, kind in model.types.items()})
    wanted = max(1, min(_MOST_ROWS, _MOST_VALUES // max(1, len(model.types))))
    rows = rows.take(np.unique(np.linspace(0, max(0, rows.num_rows - 1), min(wanted, rows.num_rows)).astype(int)))
    rows = rows.take(np.flatnonzero(_characters(rows, model).cumsum() <= _MOST_CHARACTERS))
    scores = model.predict(rows)
    usable = np.isfinite(scores) if scores.ndim == 1 else np.isfinite(scores).all(axis=1)
    kept = rows.filter(pa.array(usable))
    values = {name: _written(kept[name], kind) for name, kind in model.types.items()}
    return {"values": values, "scores": scores[usable].tolist()}


def _written(column: pa.ChunkedArray, kind: str) -> list[Any]:
    values = column.to_pylist()
    if kind != "image":
        return values
    return [None if one is None else base64.b64encode(one).decode() for one in values]


def _read(values: list[Any], kind: str) -> pa.Array:
    if kind == "image":
        values = [None if one is None else base64.b64decode(one) for one in values]
    return pa.array(values, _arrow_type(kind))


def _characters(rows: pa.Table, model: Model) -> np.ndarray:
    """`(n_rows,)` how long the texts and images of each row are together."""
    found = np.zeros(rows.num_rows, dtype=np.int64)
    for name, kind in model.types.items():
        if kind == "text":
            found += pc.fill_null(pc.utf8_length(rows[name]), 0).to_numpy().astype(np.int64)
        elif kind == "image":
            found += pc.fill_null(pc.binary_length(rows[name]), 0).to_numpy().astype(np.int64) * 4 // 3
    return found


def compare_sample(model: Model, sample: Mapping[str, Any]) -> float:
    """The largest difference between the model's scores of these rows and the recorded ones; infinite for NaN."""
    table = pa.table({name: _read(values, model.types[name]) for name, values in sample["values"].items()})
    recorded = np.asarray(sample["scores"], dtype=np.float64)
    difference = np.abs(model.predict(table) - recorded)
    return float(np.nan_to_num(difference, nan=np.inf).max(initial=0.0))


def _presentable(column: pa.ChunkedArray, kind: str) -> pa.ChunkedArray:
    """In a type that survives JSON; NaN and infinity, which models take for missing, as null."""
    column = column.cast(_arrow_type(kind))
    return pc.if_else(pc.is_finite(column), column, None) if kind == "number" else column


def _arrow_type(kind: str) -> pa.DataType:
    return {"number": pa.float64(), "image": pa.binary()}.get(kind, pa.string())
