"""Builds the features of one partition: every clean row once, with what was known before its moment.

Every clean row is an event, also one whose business key a later partition corrects: the earlier version counts from
its own time on, the correction from its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ibis
import ibis.expr.types as ir
import pyarrow as pa

from pipelines.context import Context
from pipelines.engine import Engine
from pipelines.errors import DataError
from pipelines.failpoints import reach
from pipelines.features.calendar_parts import calendar_parts
from pipelines.features.dimensions import joined_columns
from pipelines.features.functions import function_columns, load_function
from pipelines.features.inputs import Inputs, gather_inputs
from pipelines.features.lags import lag_table
from pipelines.features.names import (
    WindowColumn,
    feature_types,
    forward_fills,
    groups_of,
    joined_name,
    lag_columns,
    window_columns,
)
from pipelines.features.windows import microseconds, window_table
from pipelines.ingest.columns import table_schema
from pipelines.ledger import Row
from pipelines.settings.features import (
    CalendarFeature,
    Feature,
    FeatureGroup,
    FunctionFeature,
    JoinFeature,
    LagFeature,
    RatioFeature,
    WindowFeature,
    window_seconds,
)
from pipelines.settings.pipeline import Pipeline

_TIME = "time_us"
_FILL = "fill__"


def build_features(context: Context) -> dict[str, Any]:
    """Publishes `features` of the partition: row_id, key, event time, the model's features, partition.

    Numbers are float64 (booleans 0 or 1), categories text, images their pixels; a feature that is also a key column
    keeps its type. A row whose entity or time is null has null windows, counts included: nothing is known of it.

    Raises:
        DataError: E-FEATURE-INPUT, E-FEATURE-DIMENSION, E-FEATURE-JOIN, E-FEATURE-RANGE, E-FEATURE-FUNCTION, and
            E-FEATURE-ROWS when the result does not hold exactly the clean rows.
        ConfigError: E-FEATURE-* when the settings cannot be built; `nightshift check` says so before.
    """
    base = context.snapshot("features")
    if _is_absent(context):
        return {"state": "skipped", "reason": "the partition is absent"}
    inputs = gather_inputs(context)
    if existing := context.published("features", inputs.digest):
        return _summary(existing, "unchanged")
    with context.engine("build_features") as engine:
        clean = engine.scan(inputs.clean_snapshot, [context.key], table_schema(context.pipeline, "clean"))
        result = _Builder(context, engine, inputs).output()
        _check_rows(context, engine, clean, result)
        stream = _marked(engine.reader(result, order_by=["row_id"]))
        return _summary(context.publish("features", base, stream, inputs.digest, inputs.facts(context)), "done")


class _Builder:
    """The current partition's rows, to which one feature after the other is added."""

    def __init__(self, context: Context, engine: Engine, inputs: Inputs) -> None:
        self._context, self._engine, self._inputs = context, engine, inputs
        self._pipeline = context.pipeline
        self._computed: list[ir.Table] = []

    def output(self) -> ir.Table:
        """The features table of the partition; one row per clean row, not yet in order."""
        rows = self._clean([self._context.key])
        rows = rows.select("row_id", "partition", _TIME, *_used_columns(self._pipeline))
        for history in [*self._windows(), *self._lags()]:
            self._computed.append(history)
            rows = _joined(rows, history)
        rows = self._settle(rows)
        for group in groups_of(self._pipeline):
            for feature in group.features:
                rows = self._add(rows, group, feature)
        return self._settle(_output(self._pipeline, rows))

    def _settle(self, rows: ir.Table) -> ir.Table:
        """Computes `rows` and frees what they were made from, so that only one copy of them is held."""
        settled = self._engine.materialize(rows)
        self._engine.drop(*self._computed)
        self._computed = [settled]
        return settled

    def _clean(self, partitions: list[str]) -> ir.Table:
        snapshot = self._inputs.clean_snapshot
        rows = self._engine.scan(snapshot, partitions, table_schema(self._pipeline, "clean"))
        moment = self._pipeline.event_time
        return rows.mutate(**{_TIME: microseconds(rows[moment]) if moment else ibis.null("int64")})

    def _windows(self) -> list[ir.Table]:
        """One table per entity: all windows of one entity share one pass."""
        tables = []
        for entity, windows in _windows_by_entity(self._pipeline).items():
            events = self._events({*entity, *(window.column for window in windows if window.column)})
            tables.append(window_table(self._engine, events, entity, windows, self._context.where))
        return tables

    def _lags(self) -> list[ir.Table]:
        lookback = window_seconds(self._pipeline.features.lookback)
        return [
            lag_table(
                self._engine,
                self._events({*group.entity, *feature.columns}),
                group.entity,
                lag_columns(group, feature),
                lookback,
            )
            for group in groups_of(self._pipeline)
            for feature in group.features
            if isinstance(feature, LagFeature)
        ]

    def _events(self, columns: set[str]) -> ir.Table:
        """The rows of the look-back with these columns, their time and whether they are of this partition."""
        rows = self._clean(self._inputs.partitions)
        return rows.select("row_id", _TIME, *sorted(columns), is_current=rows.partition == self._context.key)

    def _add(self, rows: ir.Table, group: FeatureGroup, feature: Feature) -> ir.Table:
        if isinstance(feature, CalendarFeature):
            zone = self._pipeline.timezone
            return rows.mutate(**calendar_parts(self._engine, rows, feature.column, feature.parts, zone))
        if isinstance(feature, RatioFeature):
            return rows.mutate(**{feature.name: _ratio(rows[feature.numerator], rows[feature.denominator])})
        if isinstance(feature, JoinFeature):
            return self._settle(_joined(rows, self._dimension(rows, group, feature)))
        if isinstance(feature, FunctionFeature):
            return self._function(rows, feature)
        return rows

    def _dimension(self, rows: ir.Table, group: FeatureGroup, feature: JoinFeature) -> ir.Table:
        dimension = self._pipeline.dimensions[feature.dimension]
        table_name = f"dimension_{feature.dimension}"
        found = self._inputs.dimensions.get(feature.dimension)
        partitions = [found[0]] if found else []
        table = self._engine.scan(
            self._context.snapshot(table_name), partitions, table_schema(self._pipeline, table_name)
        )
        columns = {column: joined_name(group, column) for column in feature.columns}
        where = self._context.where
        joined = joined_columns(self._engine, rows, table, feature.dimension, dimension, columns, where)
        return joined.select("row_id", **{name: _as_feature(joined[name]) for name in columns.values()})

    def _function(self, rows: ir.Table, feature: FunctionFeature) -> ir.Table:
        call = load_function(self._context.home.config, feature.module, feature.function)
        given = self._settle(rows)
        shown = given.drop(_TIME, *[name for name in given.columns if name.startswith(_FILL)])
        made = function_columns(self._engine, shown, feature, call, self._context.where)
        self._computed.append(made)
        return self._settle(_joined(given, made))


def _used_columns(pipeline: Pipeline) -> list[str]:
    """Declared columns that features are made from: all but the label where a function may ask for any."""
    label = pipeline.label.column if pipeline.label and not pipeline.label.source else None
    features = [feature for group in groups_of(pipeline) for feature in group.features]
    used = {*pipeline.key, *pipeline.features.columns, pipeline.event_time}
    for feature in features:
        if isinstance(feature, CalendarFeature):
            used.add(feature.column)
        elif isinstance(feature, RatioFeature):
            used |= {feature.numerator, feature.denominator}
        elif isinstance(feature, JoinFeature):
            used.update(pipeline.dimensions[feature.dimension].key)
    is_open = any(isinstance(feature, FunctionFeature) for feature in features)
    return [name for name in pipeline.source.columns if (name in used or is_open) and name != label]


def _windows_by_entity(pipeline: Pipeline) -> dict[tuple[str, ...], list[WindowColumn]]:
    """The windows of all groups, and the last known value of each column to fill, per entity."""
    found: dict[tuple[str, ...], list[WindowColumn]] = {}
    for group in groups_of(pipeline):
        for feature in group.features:
            if isinstance(feature, WindowFeature):
                found.setdefault(group.entity, []).extend(window_columns(pipeline, group, feature))
    lookback = window_seconds(pipeline.features.lookback)
    for column, entity in forward_fills(pipeline).items():
        found.setdefault(entity, []).append(WindowColumn(f"{_FILL}{column}", "last", column, lookback, 0))
    return found


def _joined(rows: ir.Table, right: ir.Table) -> ir.Table:
    """`rows` with the columns of `right`, which holds each row id at most once; absent rows get nulls."""
    right = right.rename(row_id__right="row_id")
    return rows.left_join(right, rows.row_id == right.row_id__right).drop("row_id__right")


def _ratio(numerator: ir.Value, denominator: ir.Value) -> ir.Value:
    return _as_feature(numerator) / _as_feature(denominator).nullif(0.0)


def _as_feature(column: ir.Value) -> ir.Value:
    """Numbers as float64, booleans as 0 or 1, text and images as they are."""
    if column.type().is_string() or column.type().is_binary():
        return column
    return (column.cast("int64") if column.type().is_boolean() else column).cast("float64")


def _output(pipeline: Pipeline, rows: ir.Table) -> ir.Table:
    identity = list(dict.fromkeys([*pipeline.key, *([pipeline.event_time] if pipeline.event_time else [])]))
    fills = forward_fills(pipeline)
    columns: dict[str, ir.Value] = {"row_id": rows.row_id, **{name: rows[name] for name in identity}}
    for name in feature_types(pipeline):
        if name in identity:
            continue
        value = _as_feature(rows[name])
        columns[name] = ibis.coalesce(value, rows[_FILL + name]) if name in fills else value
    return rows.select(**columns, partition=rows.partition)


def _check_rows(context: Context, engine: Engine, clean: ir.Table, result: ir.Table) -> None:
    """Joins must neither lose nor double a row."""
    wanted = engine.count(clean)
    got = engine.table(result.aggregate(rows=result.count(), ids=result.row_id.nunique())).to_pylist()[0]
    if got["rows"] == got["ids"] == wanted:
        return
    raise DataError(
        "E-FEATURE-ROWS",
        context.where,
        f"features must hold each of the {wanted} clean rows once, got {got['rows']} rows with {got['ids']} row ids",
        "Nothing was published. Look for a join or function that is not many to one.",
    )


def _marked(reader: pa.RecordBatchReader) -> pa.RecordBatchReader:
    """The same batches, with a failpoint after the first."""

    def batches(point: Callable[[str], None] = reach) -> Any:
        for number, batch in enumerate(reader):
            yield batch
            if number == 0:
                point("features.mid")

    return pa.RecordBatchReader.from_batches(reader.schema, batches())


def _is_absent(context: Context) -> bool:
    """True when the source had nothing for this partition and nothing was accepted before."""
    if context.ledger.publication(context.name, "clean", context.key):
        return False
    states = {row["partition"]: row["state"] for row in context.ledger.accounting(context.name)}
    return states.get(context.key) == "absent"


def _summary(row: Row, state: str) -> dict[str, Any]:
    return {
        "state": state,
        "rows": row["row_count"],
        "features": len(row["facts"]["features"]),
        "groups": row["facts"]["groups"],
        "digest": row["content_digest"],
    }
