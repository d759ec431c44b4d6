"""An entity's last events before a row, one by one: what a model of sequences reads. Point in time like the windows."""

from __future__ import annotations

from collections.abc import Sequence

import ibis
import ibis.expr.types as ir

from pipelines.engine import Engine
from pipelines.features.names import LagColumns
from pipelines.features.windows import known_value, number

_MICROSECONDS = 1_000_000


def lag_table(engine: Engine, events: ir.Table, entity: Sequence[str], lags: LagColumns, lookback: int) -> ir.Table:
    """One row per current row whose entity and time are known: `row_id` and the columns of `lags` as float64.

    Step 1 is the newest event strictly before the row, at most `lookback` seconds ago. Rows at one and the same moment
    do not see each other; of earlier events at one moment that with the highest row id is the newer. A step without
    an event is null in every column, and so is a value that the event itself lacks.

    Args:
        engine: computes the intermediate tables.
        events: one row per event with `row_id`, `time_us` (int64), `is_current` and the columns in use.
        entity: columns that identify the entity.
        lags: the columns to make.
        lookback: seconds.
    """
    keys = list(entity)
    known = engine.materialize(_positions(events, keys, lookback))
    # The newest and the oldest event that a row may see; between them an entity's events have no gaps.
    wanted = known.filter(known.is_current, known.newest.notnull())
    found = _joined(wanted, _history(known, keys, lags), keys)
    made = engine.materialize(known.filter(known.is_current).select("row_id").left_join(_steps(found, lags), "row_id"))
    result = engine.materialize(made.select("row_id", *lags.names))
    engine.drop(known, made)
    return result


def _positions(events: ir.Table, keys: list[str], lookback: int) -> ir.Table:
    """Events of the current rows' entities, numbered by time, each with the first and last number that it may see."""
    known = events.filter(*[events[column].notnull() for column in [*keys, "time_us"]])
    known = known.semi_join(known.filter(known.is_current).select(*keys).distinct(), keys)
    order = ibis.window(group_by=keys, order_by=["time_us", "row_id"])
    known = known.mutate(position=ibis.row_number().over(order).cast("int64"))
    before = ibis.range_window(group_by=keys, order_by="time_us", preceding=(lookback * _MICROSECONDS, 1))
    return known.mutate(newest=known.position.max().over(before), oldest=known.position.min().over(before))


def _history(known: ir.Table, keys: list[str], lags: LagColumns) -> ir.Table:
    """Each event with itself as step 1 and the events before it as the further steps, however old."""
    order = ibis.window(group_by=keys, order_by="position")
    steps: dict[str, ir.Value] = {}
    for column, names in lags.values.items():
        value = number(known_value(known[column]))
        steps |= {name: value.lag(back).over(order) for back, name in enumerate(names)}
    steps |= {name: known.time_us.lag(back).over(order) for back, name in enumerate(lags.ages)}
    return known.select(**{f"{key}__right": known[key] for key in keys}, last=known.position, **steps)


def _joined(wanted: ir.Table, history: ir.Table, keys: list[str]) -> ir.Table:
    """Each wanted row with the history that ends with its newest event (many to one)."""
    rows = wanted.select("row_id", "time_us", "newest", "oldest", *[wanted[key].name(f"{key}__left") for key in keys])
    same = [rows[f"{key}__left"] == history[f"{key}__right"] for key in keys]
    return rows.join(history, [*same, rows.newest == history["last"]])


def _steps(found: ir.Table, lags: LagColumns) -> ir.Table:
    """`row_id` and the steps that lie within the look-back; the others are null."""
    columns: dict[str, ir.Value] = {}
    for names in lags.values.values():
        columns |= {name: _visible(found, back, found[name]) for back, name in enumerate(names)}
    for back, name in enumerate(lags.ages):
        seconds = (found.time_us - found[name]).cast("float64") / float(_MICROSECONDS)
        columns[name] = _visible(found, back, seconds)
    return found.select("row_id", **columns)


def _visible(found: ir.Table, back: int, value: ir.Value) -> ir.Value:
    return (found.newest - back >= found.oldest).ifelse(value, ibis.null("float64"))
