"""Joins to slowly changing tables: each row sees the terms that held at its own moment."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from pipelines.engine import Engine
from pipelines.errors import DataError, shapes
from pipelines.features.windows import microseconds
from pipelines.settings.source import Dimension

_MOST_EXAMPLES = 5


def joined_columns(
    engine: Engine,
    rows: ir.Table,
    table: ir.Table,
    name: str,
    dimension: Dimension,
    columns: dict[str, str],
    where: str,
) -> ir.Table:
    """`row_id` and the dimension's columns as they held at the row's time; many to one.

    Args:
        engine: checks that the right side is unique.
        rows: one row per `row_id`, with the dimension's key columns and `time_us`.
        table: the snapshot of the dimension.
        name: its name, for errors.
        dimension: its key and validity.
        columns: new name per column of the dimension.
        where: how errors name the run.

    Rows without a match, or before the key's first `valid_from`, are absent from the result. Dimension rows with a
    null key or a null `valid_from` never hold.

    Raises:
        DataError: E-FEATURE-JOIN when a key has two rows that start to hold at one moment.
    """
    key = list(dimension.key)
    right = table.filter(*[table[column].notnull() for column in key])
    if dimension.valid_from:
        right = right.mutate(start_us=microseconds(right[dimension.valid_from])).filter(ibis._.start_us.notnull())
    identity = [*key, "start_us"] if dimension.valid_from else key
    _check_unique(engine, right, identity, dimension, name, where)
    right = right.select(
        **{f"key__{column}": right[column] for column in key},
        **({"start_us": right.start_us} if dimension.valid_from else {}),
        **{f"value__{new}": right[column] for column, new in columns.items()},
    )
    same = [rows[column] == right[f"key__{column}"] for column in key]
    if dimension.valid_from:
        order = ibis.window(group_by=[f"key__{column}" for column in key], order_by="start_us")
        right = right.mutate(end_us=right.start_us.lead().over(order))
        same = [rows[column] == right[f"key__{column}"] for column in key]
        same += [rows.time_us >= right.start_us, right.end_us.isnull() | (rows.time_us < right.end_us)]
    found = rows.join(right, same)
    return found.select("row_id", **{new: found[f"value__{new}"] for new in columns.values()})


def _check_unique(
    engine: Engine, right: ir.Table, identity: list[str], dimension: Dimension, name: str, where: str
) -> None:
    counted = right.group_by(identity).aggregate(rows=right.count())
    double = engine.table(counted.filter(counted.rows > 1).order_by(identity).limit(_MOST_EXAMPLES)).to_pylist()
    if not double:
        return
    keys = [", ".join(str(row[column]) for column in dimension.key) for row in double]
    unique = " and ".join([*dimension.key, *([dimension.valid_from] if dimension.valid_from else [])])
    raise DataError(
        "E-FEATURE-JOIN",
        where,
        f"dimension '{name}' must have one row per {unique}, got several for keys like {shapes(keys)}",
        "Nothing was published. Fix the dimension's file.",
        repeat="ingest",
    )
