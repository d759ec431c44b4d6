"""Columns that know the label: alone, as one of two that add up to it, or nearly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.ingest.arrow_types import cast_arrow
from pipelines.init.infer import Declared
from pipelines.init.roles import Target
from pipelines.init.rows import Rows
from pipelines.settings.gate import Leakage
from pipelines.training.leakage import told_by
from pipelines.training.rows import TARGET

_LIMITS = Leakage()
_NOTABLE = {"regression": 0.9, "binary": 0.95, "multiclass": 0.95}
_ADD_UP = 0.995  # of the rows
_MOST_NUMBERS = 40
_KINDS = {"integer": "number", "number": "number", "boolean": "number", "category": "category", "id": "category"}


@dataclass(frozen=True)
class Suspicion:
    """`is_sure`: put aside; else only said."""

    why: str
    is_sure: bool


def typed_sample(columns: Sequence[Declared], rows: Rows, sample: pa.Table) -> pa.Table:
    """The sample as ingest would type it; what does not fit is null."""
    return pa.table({one.name: typed(one, sample[rows.place(one.facts.source_name)]) for one in columns})


def typed(one: Declared, cells: pa.ChunkedArray) -> pa.Array:
    whole = cells.combine_chunks() if isinstance(cells, pa.ChunkedArray) else cells
    return cast_arrow(whole, one.name, one.column, one.null_tokens or ("",))[0]


def suspects(columns: Sequence[Declared], target: Target, sample: pa.Table) -> dict[str, Suspicion]:
    """Columns that should not be features, or of which a person should know, by name; the label itself left out.

    The limits are those of the gate, which would hold a model back that was trained on such a column.
    """
    labelled = _with_target(sample, target)
    if labelled.num_rows < 20:
        return {}
    others = [one for one in columns if one.name != target.column.name and one.type in _KINDS]
    found = _adding_up(others, target, labelled)
    for one in others:
        if one.name not in found and not one.facts.is_constant:
            told = told_by(labelled, one.name, _KINDS[one.type], target.task)
            found |= _judged(one, target, told)
    return found


def _judged(one: Declared, target: Target, told: float | None) -> dict[str, Suspicion]:
    if told is None or not np.isfinite(told) or told < _NOTABLE[target.task]:
        return {}
    is_number = target.task == "regression"
    limit = _LIMITS.max_feature_correlation if is_number else _LIMITS.max_feature_auc
    what = f"{'correlation' if is_number else 'ROC AUC'} {told:.4f} with {target.column.name!r} alone"
    return {one.name: Suspicion(f"tells the label: {what}" if told >= limit else what, told >= limit)}


def _adding_up(columns: Sequence[Declared], target: Target, rows: pa.Table) -> dict[str, Suspicion]:
    """Pairs whose sum, difference or product is the label."""
    if target.task != "regression":
        return {}
    numbers = [one.name for one in columns if one.type in ("integer", "number")][:_MOST_NUMBERS]
    values = {name: pc.cast(rows[name], pa.float64()).to_numpy(zero_copy_only=False) for name in numbers}
    wanted = rows[TARGET].to_numpy()
    found: dict[str, Suspicion] = {}
    varied = [name for name in numbers if np.nanstd(values[name]) > 0]
    for first, second in combinations(varied, 2):
        one, other = values[first], values[second]
        for text, made in (
            (f"{first} + {second}", one + other),
            (f"{first} - {second}", one - other),
            (f"{second} - {first}", other - one),
            (f"{first} * {second}", one * other),
        ):
            if np.isclose(made, wanted, rtol=1e-6, atol=1e-9).mean() >= _ADD_UP:
                told = Suspicion(f"tells the label: {text} = {target.column.name}", True)
                found |= {first: told, second: told}
    return found


def _with_target(sample: pa.Table, target: Target) -> pa.Table:
    """Labelled rows with the label as a number."""
    label = sample[target.column.name]
    kept = sample.filter(pc.is_valid(label))
    label = kept[target.column.name]
    if target.task == "regression":
        numbers = pc.cast(label, pa.float64())
    elif target.positive is not None:
        numbers = pc.cast(pc.equal(pc.cast(label, pa.string()), target.positive), pa.float64())
    else:
        codes = pc.cast(label, pa.string()).combine_chunks().dictionary_encode()
        order = np.argsort(np.argsort(codes.dictionary.to_pylist()))
        numbers = pa.array(order[codes.indices.to_numpy()].astype(float))
    return kept.append_column(TARGET, numbers)
