"""Windows per entity: what the entity did in the seconds before a row, never at its moment or later.

A window of `w` seconds at time `t` holds the events in `[t - w, t)`. Rows at one and the same moment do not see
each other. Time is counted in whole microseconds, so that DuckDB and Spark both run it as an integer range window.

Sums are taken over whole numbers of 10^-decimals and are therefore exact: neither the order of rows nor the number
of threads changes a bit of a feature.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import ibis
import ibis.expr.types as ir

from pipelines.engine import Engine
from pipelines.errors import DataError
from pipelines.features.names import WindowColumn

_MICROSECONDS = 1_000_000
_SUMMED = ("sum", "mean", "std")
# Squares of units up to 10^16 leave room for a million of them in the 38 digits of a decimal.
_LARGEST_UNITS = 10**16


def microseconds(moment: ir.TimestampValue) -> ir.IntegerValue:
    """Microseconds since 1970 as int64, the same on every engine."""
    epoch = ibis.timestamp("1970-01-01 00:00:00")
    return moment.cast("timestamp").delta(epoch, unit="microsecond").cast("int64")


def window_table(
    engine: Engine, events: ir.Table, entity: Sequence[str], windows: Sequence[WindowColumn], where: str
) -> ir.Table:
    """One row per current row whose entity and time are known: `row_id` and one column per window.

    Args:
        engine: computes the intermediate tables.
        events: one row per event with `row_id`, `time_us` (int64), `is_current` and the columns in use.
        entity: columns that identify the entity.
        windows: what to compute; `count`, `distinct` and `sum` of no events are 0, the others null, `std` (sample)
            is null below two values. Null and NaN values are no values. `last` is the newest known value, of rows at
            one moment that with the highest row id.
        where: how errors name the run.

    Raises:
        DataError: E-FEATURE-RANGE when a value is too large to be summed exactly.
    """
    windows = [_in_units(window, events) for window in windows]
    known = engine.materialize(_events_of_current_entities(events, entity, windows))
    _check_range(engine, known, windows, where)
    plain = [window for window in windows if window.statistic != "distinct"]
    current = engine.materialize(_aggregates(known, entity, plain).filter(ibis._.is_current))
    result = current.select(
        "row_id", **{window.name: _value(current, window) for window in plain if not _joins(window)}
    )
    for window in windows:
        if window.statistic == "last":
            result = _join(result, _last(known, current, entity, window))
        elif window.statistic == "distinct":
            result = _join(result, _distinct(known, entity, window))
    made = engine.materialize(result.select("row_id", *[window.name for window in windows]))
    engine.drop(known, current)
    return made


def _events_of_current_entities(events: ir.Table, entity: Sequence[str], windows: Sequence[WindowColumn]) -> ir.Table:
    """Events with entity and time, of entities that the partition has; `position` orders an entity's events."""
    known = events.filter(*[events[column].notnull() for column in [*entity, "time_us"]])
    present = known.filter(known.is_current).select(*entity).distinct()
    earliest = known.filter(known.is_current).aggregate(earliest=known.time_us.min())
    longest = max(window.seconds for window in windows) * _MICROSECONDS
    known = known.semi_join(present, list(entity)).cross_join(earliest)
    known = known.filter(known.time_us >= known.earliest - longest).drop("earliest")
    if any(window.statistic == "last" for window in windows):
        order = ibis.window(group_by=list(entity), order_by=["time_us", "row_id"])
        known = known.mutate(position=ibis.row_number().over(order).cast("int64"))
    return known


def _aggregates(known: ir.Table, entity: Sequence[str], windows: Sequence[WindowColumn]) -> ir.Table:
    """Adds the range aggregates that the windows are made of, each once."""
    needed = {name: value for window in windows for name, value in _parts(known, entity, window).items()}
    return known.mutate(**needed)


def _parts(known: ir.Table, entity: Sequence[str], window: WindowColumn) -> dict[str, ir.Value]:
    frame = _frame(entity, window.seconds)
    column, seconds, statistic = window.column, window.seconds, window.statistic
    if column is None:
        everything: dict[str, ir.Value] = {
            "count": known.count().over(frame),
            "seconds_since_last": known.time_us.max().over(frame),
        }
        return {_part(statistic, None, seconds): everything[statistic]}
    value = known_value(known[column])
    if statistic == "count":
        return {_part("count", column, seconds): value.count().over(frame)}
    if statistic == "seconds_since_last":
        return {_part(statistic, column, seconds): value.notnull().ifelse(known.time_us, ibis.null()).max().over(frame)}
    if statistic == "last":
        return {
            _part(statistic, column, seconds): value.notnull().ifelse(known.position, ibis.null()).max().over(frame)
        }
    if statistic in ("min", "max"):
        values = number(value)
        extreme = values.min() if statistic == "min" else values.max()
        return {_part(statistic, column, seconds): extreme.over(frame)}
    units = _units(value, window.decimals)
    parts: dict[str, ir.Value] = {
        _part("count", column, seconds): value.count().over(frame),
        _part(f"sum{window.decimals}", column, seconds): units.cast("decimal(38, 0)").sum().over(frame),
    }
    if statistic == "std":
        square = units.cast("decimal(19, 0)") * units.cast("decimal(19, 0)")
        parts[_part(f"squares{window.decimals}", column, seconds)] = square.cast("decimal(38, 0)").sum().over(frame)
    return parts


def _value(current: ir.Table, window: WindowColumn) -> ir.Value:
    """The feature, from the aggregates beside it."""
    column, seconds, statistic = window.column, window.seconds, window.statistic
    if statistic == "seconds_since_last":
        last = current[_part(statistic, column, seconds)]
        return ((current.time_us - last).cast("float64") / float(_MICROSECONDS)).cast("float64")
    if statistic in ("count", "min", "max"):
        return current[_part(statistic, column, seconds)].cast("float64")
    count = current[_part("count", column, seconds)]
    total = current[_part(f"sum{window.decimals}", column, seconds)].fill_null(0)
    scale = float(10**window.decimals)
    if statistic == "sum":
        return total.cast("float64") / scale
    if statistic == "mean":
        return total.cast("float64") / (count.cast("float64").nullif(0.0) * scale)
    squares = current[_part(f"squares{window.decimals}", column, seconds)]
    return _deviation(count, total, squares) / scale


def _deviation(count: ir.Value, total: ir.Value, squares: ir.Value) -> ir.Value:
    """Sample standard deviation in units, from exact sums; null below two values.

    The squares are moved to the whole number nearest the mean before any rounding, which avoids the cancellation of
    the textbook formula: sum((y - c)^2) = squares - 2 c total + n c^2 is exact in whole numbers.
    """
    number = count.cast("float64")
    centre = (total.cast("float64") / number.nullif(0.0)).round().cast("int64").cast("decimal(19, 0)")
    n = count.cast("decimal(19, 0)")
    about_centre = (
        squares
        - (centre * (total * 2).cast("decimal(38, 0)")).cast("decimal(38, 0)")
        + (n * (centre * centre).cast("decimal(38, 0)")).cast("decimal(38, 0)")
    ).cast("float64")
    rest = (total - (n * centre).cast("decimal(38, 0)")).cast("float64")
    variance = (about_centre - rest * rest / number.nullif(0.0)) / (number - 1.0).nullif(0.0)
    return (count >= 2).ifelse(ibis.greatest(variance, 0.0).sqrt(), ibis.null("float64"))


def _last(known: ir.Table, current: ir.Table, entity: Sequence[str], window: WindowColumn) -> ir.Table:
    """`row_id` and the value at the newest known position before the row."""
    position = current[_part("last", window.column, window.seconds)]
    wanted = current.select("row_id", *entity, found=position).filter(ibis._.found.notnull())
    values = known.select(
        *[known[column].name(f"{column}__right") for column in entity], known.position, value=known[str(window.column)]
    )
    same = [wanted[column] == values[f"{column}__right"] for column in entity]
    found = wanted.join(values, [*same, wanted.found == values.position])
    return found.select("row_id", **{window.name: _number_or_text(found["value"])})


def _distinct(known: ir.Table, entity: Sequence[str], window: WindowColumn) -> ir.Table:
    """`row_id` and the number of distinct known values in the window.

    Of several events with one value only the newest before t counts. An event at s is that from just after s until
    the value's next event, and is inside the window until s + w. So +1 at s, -1 at the earlier of the two ends, and
    the count at t is the sum of all steps strictly before t: one pass, on any engine.
    """
    column = str(window.column)
    events = known.mutate(value=known_value(known[column])).filter(ibis._.value.notnull())
    order = ibis.window(group_by=[*entity, "value"], order_by="time_us")
    out_of_window = events.time_us + window.seconds * _MICROSECONDS
    end = ibis.least(ibis.coalesce(events.time_us.lead().over(order), out_of_window), out_of_window)
    arrivals = events.select(*entity, "time_us", step=ibis.literal(1, "int64"), row_id=ibis.null("string"))
    ends = events.mutate(end=end).select(
        *entity, time_us="end", step=ibis.literal(-1, "int64"), row_id=ibis.null("string")
    )
    asked = known.filter(known.is_current).select(*entity, "time_us", step=ibis.literal(0, "int64"), row_id="row_id")
    steps = ibis.union(ibis.union(arrivals, ends), asked)
    before = ibis.range_window(group_by=list(entity), order_by="time_us", preceding=(None, 1))
    counted = steps.mutate(total=steps.step.sum().over(before)).filter(ibis._.row_id.notnull())
    return counted.select("row_id", **{window.name: counted.total.fill_null(0).cast("float64")})


def _join(left: ir.Table, right: ir.Table) -> ir.Table:
    """One to one on `row_id`; absent rows are null."""
    right = right.rename(row_id__right="row_id")
    return left.left_join(right, left.row_id == right.row_id__right).drop("row_id__right")


def _check_range(engine: Engine, known: ir.Table, windows: Sequence[WindowColumn], where: str) -> None:
    summed = {str(window.column): window for window in windows if window.statistic in _SUMMED}
    if not summed:
        return
    largest = engine.table(
        known.aggregate(**{column: number(known_value(known[column])).abs().max() for column in summed})
    ).to_pylist()[0]
    for column, window in summed.items():
        limit = _LARGEST_UNITS / 10**window.decimals
        if (largest[column] or 0) > limit:
            raise DataError(
                "E-FEATURE-RANGE",
                where,
                f"values of '{column}' must be at most {limit:g} to be summed in units of 10^-{window.decimals}, "
                f"got {largest[column]:g}",
                "Refuse such values in the expectation suite, or lower 'decimals' of the window feature.",
            )


def _frame(entity: Sequence[str], seconds: int) -> ibis.expr.builders.WindowBuilder:
    return ibis.range_window(group_by=list(entity), order_by="time_us", preceding=(seconds * _MICROSECONDS, 1))


def _part(statistic: str, column: str | None, seconds: int) -> str:
    return f"{statistic}__{column or ''}__{seconds}"


def _joins(window: WindowColumn) -> bool:
    return window.statistic == "last"


def known_value(column: ir.Value) -> ir.Value:
    """The value, with NaN as null."""
    return column.isnan().ifelse(ibis.null(column.type()), column) if column.type().is_floating() else column


def number(column: ir.Value) -> ir.NumericValue:
    return column.cast("int64").cast("float64") if column.type().is_boolean() else column.cast("float64")


def _number_or_text(column: ir.Value) -> ir.Value:
    return column.cast("string") if column.type().is_string() else number(column)


def _in_units(window: WindowColumn, events: ir.Table) -> WindowColumn:
    """Whole numbers and booleans have no decimals."""
    is_whole = window.column is not None and not events[window.column].type().is_floating()
    return replace(window, decimals=0) if is_whole else window


def _units(value: ir.Value, decimals: int) -> ir.IntegerValue:
    if not value.type().is_floating():
        return value.cast("int64")
    return (value * float(10**decimals)).round().cast("int64")
