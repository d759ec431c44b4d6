"""Arrow schemas of the tables whose columns follow from the declared columns of a source."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from pipelines.errors import ConfigError, quote
from pipelines.settings.pipeline import Pipeline
from pipelines.settings.source import Column, ColumnType

_ARROW: dict[ColumnType, pa.DataType] = {
    "id": pa.string(),
    "text": pa.string(),
    "category": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "timestamp": pa.timestamp("us", "UTC"),
    "date": pa.date32(),
    "image": pa.binary(),
}
_ORIGIN = [("row_id", pa.string()), ("source_file", pa.string()), ("source_line", pa.int64())]
_PARTITION = ("partition", pa.string())

QUARANTINE = pa.schema(
    [*_ORIGIN, ("record", pa.string()), ("reasons", pa.list_(pa.string())), ("stage", pa.string()), _PARTITION]
)
DUPLICATES = pa.schema(
    [
        ("row_id", pa.string()),
        ("kept_row_id", pa.string()),
        ("kept_partition", pa.string()),
        ("reason", pa.string()),
        _PARTITION,
    ]
)


def arrow_type(column: Column) -> pa.DataType:
    """The one Arrow type of a declared column; `id`, `text` and `category` are strings, an image its pixels."""
    return _ARROW[column.type]


def arrow_schema(columns: Mapping[str, Column]) -> pa.Schema:
    """The declared columns with their types, in declared order, without system columns."""
    return pa.schema([(name, arrow_type(column)) for name, column in columns.items()])


def raw_schema(columns: Mapping[str, Column]) -> pa.Schema:
    """`row_id, source_file, source_line`, the declared columns, `partition`: one row per parsed record."""
    return pa.schema([*_ORIGIN, *arrow_schema(columns), _PARTITION])


def snapshot_schema(columns: Mapping[str, Column]) -> pa.Schema:
    """`row_id`, the declared columns, `partition`: clean rows, dimensions and arrived labels."""
    return pa.schema([_ORIGIN[0], *arrow_schema(columns), _PARTITION])


def table_schema(pipeline: Pipeline, table: str) -> pa.Schema:
    """The schema of `raw`, `clean`, `quarantine`, `duplicates`, `dimension_<name>` or `labels_<name>`.

    Raises:
        ConfigError: the table is none of these, or the dimension or label source is not declared.
    """
    if table in ("quarantine", "duplicates"):
        return QUARANTINE if table == "quarantine" else DUPLICATES
    if table == "raw":
        return raw_schema(pipeline.source.columns)
    if table == "clean":
        return snapshot_schema(pipeline.source.columns)
    kind, _, name = table.partition("_")
    if kind == "dimension" and name in pipeline.dimensions:
        return snapshot_schema(pipeline.dimensions[name].source.columns)
    if kind == "labels" and name in pipeline.label_sources:
        return snapshot_schema(pipeline.label_sources[name].source.columns)
    raise ConfigError("E-CONFIG-TABLE", pipeline.name, f"the table {quote(table)} has no declared columns")
