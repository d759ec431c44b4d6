"""Typing: what a cell must look like for its column, and what is said about it when it does not."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from pipelines.errors import DataError
from pipelines.ingest.arrow_types import cast_arrow, check_castable
from pipelines.ingest.records import shape
from pipelines.ingest.text_types import cast_text
from pipelines.ingest.value_types import cast_json, cast_sql
from pipelines.settings.source import Column


def typed(text: str | None, **column: Any) -> Any:
    """The value, or the rule that refuses it. A second, good cell must not change the outcome of the first."""
    tokens = column.pop("tokens", ("",))
    array, failures = cast_text(pa.array([text, None], pa.string()), "x", Column(**column), tokens)
    assert set(failures) <= {0}
    return failures[0].split(":")[0] if failures else array[0].as_py()


ACCEPTED = {
    "leading zeros of an id": ("00501", {"type": "id"}, "00501"),
    "id above 2^53": ("9007199254740993", {"type": "id"}, "9007199254740993"),
    "NA is a country": ("NA", {"type": "category"}, "NA"),
    "declared null token": ("NA", {"type": "category", "tokens": ("NA",)}, None),
    "empty is null by default": ("", {"type": "text"}, None),
    "empty is text without tokens": ("", {"type": "text", "tokens": ()}, ""),
    "integer": ("-12", {"type": "integer"}, -12),
    "integer with plus": ("+12", {"type": "integer"}, 12),
    "largest integer": (str(2**63 - 1), {"type": "integer"}, 2**63 - 1),
    "number": ("12.5", {"type": "number"}, 12.5),
    "number with exponent": ("-1e-3", {"type": "number"}, -0.001),
    "boolean": ("TRUE", {"type": "boolean"}, True),
    "boolean by own tokens": ("N", {"type": "boolean", "true_tokens": ("y",), "false_tokens": ("n",)}, False),
    "plain timestamp is UTC": ("2026-03-01 10:00:00", {"type": "timestamp"}, datetime(2026, 3, 1, 10, tzinfo=UTC)),
    "day as timestamp": ("2026-03-01", {"type": "timestamp"}, datetime(2026, 3, 1, tzinfo=UTC)),
    "offset": ("2026-03-01T10:00:00+02:00", {"type": "timestamp"}, datetime(2026, 3, 1, 8, tzinfo=UTC)),
    "microseconds": ("2026-03-01T10:00:00.000001Z", {"type": "timestamp"}, datetime(2026, 3, 1, 10, 0, 0, 1, UTC)),
    "nanoseconds that are zero": (
        "2026-03-01T10:00:00.500000000",
        {"type": "timestamp"},
        datetime(2026, 3, 1, 10, 0, 0, 500_000, UTC),
    ),
    "format day first": (
        "03/04/2026 10:11",
        {"type": "timestamp", "format": "%d/%m/%Y %H:%M"},
        datetime(2026, 4, 3, 10, 11, tzinfo=UTC),
    ),
    "format without padding": (
        "3/4/2026 1:02",
        {"type": "timestamp", "format": "%d/%m/%Y %H:%M"},
        datetime(2026, 4, 3, 1, 2, tzinfo=UTC),
    ),
    "format with zone": (
        "2026-03-01 10:00 +0100",
        {"type": "timestamp", "format": "%Y-%m-%d %H:%M %z"},
        datetime(2026, 3, 1, 9, tzinfo=UTC),
    ),
    "local time": (
        "2026-07-01 10:00:00",
        {"type": "timestamp", "timezone": "Europe/Berlin"},
        datetime(2026, 7, 1, 8, tzinfo=UTC),
    ),
    "date": ("2024-02-29", {"type": "date"}, date(2024, 2, 29)),
    "date by format": ("01.03.2026", {"type": "date", "format": "%d.%m.%Y"}, date(2026, 3, 1)),
}


@pytest.mark.parametrize(("text", "column", "value"), ACCEPTED.values(), ids=ACCEPTED.keys())
def test_text_is_typed(text: str, column: dict[str, Any], value: Any) -> None:
    assert typed(text, **column) == value


REFUSED = {
    "integer with a fraction": ("12.0", "integer", None, "TYPE"),
    "integer in hexadecimal": ("0x1f", "integer", None, "TYPE"),
    "integer with a blank": (" 12", "integer", None, "TYPE"),
    "integer with underscores": ("1_000", "integer", None, "TYPE"),
    "integer in other digits": ("١٢", "integer", None, "TYPE"),
    "integer above 2^63": (str(2**63), "integer", None, "TYPE"),
    "decimal comma": ("12,5", "number", None, "TYPE"),
    "thousands": ("1,000.5", "number", None, "TYPE"),
    "nan": ("nan", "number", None, "NUMBER_NOT_FINITE"),
    "infinity": ("-Inf", "number", None, "NUMBER_NOT_FINITE"),
    "too large": ("1e999", "number", None, "NUMBER_NOT_FINITE"),
    "N/A": ("N/A", "number", None, "TYPE"),
    "word as boolean": ("maybe", "boolean", None, "TYPE"),
    "impossible day": ("2026-02-30 10:00:00", "timestamp", None, "TYPE"),
    "impossible day by format": ("30/02/2026", "timestamp", "%d/%m/%Y", "TYPE"),
    "month and day exchanged": ("04/13/2026", "timestamp", "%d/%m/%Y", "TYPE"),
    "text behind the format": ("03/04/2026 x", "timestamp", "%d/%m/%Y", "TYPE"),
    "hour 24": ("2026-03-01T24:00:00", "timestamp", None, "TYPE"),
    "leap second": ("2026-03-01T23:59:60", "timestamp", None, "TYPE"),
    "compact form": ("20260301", "timestamp", None, "TYPE"),
    "nanoseconds": ("2026-03-01T10:00:00.123456789", "timestamp", None, "TYPE"),
    "epoch": ("1772359200", "timestamp", None, "TYPE"),
    "time as date": ("2026-03-01 10:00", "date", None, "TYPE"),
    "leap day of another year": ("2026-02-29", "date", None, "TYPE"),
}


@pytest.mark.parametrize(("text", "kind", "form", "rule"), REFUSED.values(), ids=REFUSED.keys())
def test_text_is_refused(text: str, kind: Any, form: str | None, rule: str) -> None:
    assert typed(text, type=kind, format=form) == rule


@pytest.mark.parametrize(
    ("local", "rule"),
    [("2026-03-29 02:30:00", "TIME_NONEXISTENT"), ("2026-10-25 02:30:00", "TIME_AMBIGUOUS")],
    ids=["skipped in spring", "twice in autumn"],
)
def test_local_times_are_not_guessed_when_clocks_change(local: str, rule: str) -> None:
    assert typed(local, type="timestamp", timezone="Europe/Berlin") == rule


def test_one_bad_cell_leaves_the_others_of_its_column_alone() -> None:
    cells = pa.array(["1", "x", None, "3"], pa.string())
    array, failures = cast_text(cells, "n", Column(type="integer"), ("",))
    assert array.to_pylist() == [1, None, None, 3]
    assert failures == {1: "TYPE: 'n' must be a whole number, got 'x'"}


def test_zones_may_differ_from_row_to_row() -> None:
    cells = pa.array(["2026-03-01T10:00:00Z", "2026-03-01 10:00:00", "2026-03-01T10:00:00-01:00"], pa.string())
    array, failures = cast_text(cells, "t", Column(type="timestamp"), ())
    assert [moment.hour for moment in array.to_pylist()] == [10, 10, 11]
    assert failures == {}


@pytest.mark.parametrize(
    ("value", "shown"),
    [("12,5", "'99,9'"), ("N/A", "'N/A'"), ("anna@mail.org", "'xxxx@xxxx.xxx'"), ("a\nb", "'x\\nx'")],
)
def test_shape_tells_the_form_and_not_the_value(value: str, shown: str) -> None:
    assert shape(value) == shown


JSON = {
    "integer id": (9007199254740993, "id", "9007199254740993"),
    "fraction as id": (1.5, "id", "TYPE"),
    "boolean as id": (True, "id", "TYPE"),
    "list as text": (["a"], "text", "TYPE"),
    "half a surrogate pair": ("\ud800", "text", "ENCODING"),
    "integer": (3, "integer", 3),
    "float as integer": (3.0, "integer", "TYPE"),
    "text as integer": ("3", "integer", "TYPE"),
    "boolean as integer": (True, "integer", "TYPE"),
    "large integer": (2**70, "integer", "TYPE"),
    "integer as number": (3, "number", 3.0),
    "text as number": ("3.5", "number", "TYPE"),
    "infinite number": (float("inf"), "number", "NUMBER_NOT_FINITE"),
    "boolean": (False, "boolean", False),
    "integer as boolean": (1, "boolean", "TYPE"),
    "timestamp": ("2026-03-01T10:00:00Z", "timestamp", datetime(2026, 3, 1, 10, tzinfo=UTC)),
    "number as timestamp": (1772359200, "timestamp", "TYPE"),
    "null": (None, "integer", None),
}


@pytest.mark.parametrize(("value", "kind", "expected"), JSON.values(), ids=JSON.keys())
@pytest.mark.parametrize("beside", [None, {}], ids=["alone", "beside a cell of another kind"])
def test_json_values_keep_their_kind(value: Any, kind: Any, expected: Any, beside: Any) -> None:
    array, failures = cast_json([value, beside], "x", Column(type=kind), ("",))
    assert (failures[0].split(":")[0] if 0 in failures else array[0].as_py()) == expected
    assert (1 in failures) == (beside is not None)


SQL = {
    "decimal id": (Decimal("501"), "id", "501"),
    "decimal id with fraction": (Decimal("501.5"), "id", "TYPE"),
    "decimal number": (Decimal("1.5"), "number", 1.5),
    "text number": ("1.5", "number", 1.5),
    "0 and 1 as boolean": (1, "boolean", True),
    "2 as boolean": (2, "boolean", "TYPE"),
    "naive timestamp is UTC": (datetime(2026, 3, 1, 10), "timestamp", datetime(2026, 3, 1, 10, tzinfo=UTC)),
    "text timestamp": ("2026-03-01 10:00:00", "timestamp", datetime(2026, 3, 1, 10, tzinfo=UTC)),
    "timestamp as date": (datetime(2026, 3, 1), "date", "TYPE"),
    "date": (date(2026, 3, 1), "date", date(2026, 3, 1)),
    "bytes as text": (b"x", "text", "TYPE"),
}


@pytest.mark.parametrize(("value", "kind", "expected"), SQL.values(), ids=SQL.keys())
def test_sql_values_keep_their_kind(value: Any, kind: Any, expected: Any) -> None:
    array, failures = cast_sql([value], "x", Column(type=kind), ("",))
    assert (failures[0].split(":")[0] if failures else array[0].as_py()) == expected


ARROW = {
    "integers become id text": (pa.array([501]), "id", "501"),
    "small integers": (pa.array([7], pa.int8()), "integer", 7),
    "unsigned above 2^63": (pa.array([2**63], pa.uint64()), "integer", "TYPE"),
    "floats": (pa.array([1.5], pa.float32()), "number", 1.5),
    "NaN": (pa.array([float("nan")]), "number", "NUMBER_NOT_FINITE"),
    "text as number": (pa.array(["1.5"]), "number", 1.5),
    "nanoseconds": (
        pa.array([datetime(2026, 3, 1)], pa.timestamp("ns")),
        "timestamp",
        datetime(2026, 3, 1, tzinfo=UTC),
    ),
    "a far year in seconds": (pa.array([2**60], pa.timestamp("s")), "timestamp", "TIME_RANGE"),
    "nothing but null": (pa.nulls(1), "number", None),
    "date": (pa.array([date(2026, 3, 1)]), "date", date(2026, 3, 1)),
}


@pytest.mark.parametrize(("cells", "kind", "expected"), ARROW.values(), ids=ARROW.keys())
def test_arrow_values_keep_their_meaning(cells: pa.Array, kind: Any, expected: Any) -> None:
    check_castable(pa.field("x", cells.type), "x", Column(type=kind), "test")
    array, failures = cast_arrow(cells, "x", Column(type=kind), ("",))
    assert (failures[0].split(":")[0] if failures else array[0].as_py()) == expected


@pytest.mark.parametrize(
    ("type_", "kind"),
    [
        (pa.float64(), "id"),
        (pa.float64(), "integer"),
        (pa.bool_(), "integer"),
        (pa.int64(), "boolean"),
        (pa.int64(), "timestamp"),
        (pa.timestamp("us"), "date"),
        (pa.list_(pa.int64()), "text"),
    ],
    ids=str,
)
def test_arrow_types_that_could_lose_something_are_refused(type_: pa.DataType, kind: Any) -> None:
    with pytest.raises(DataError, match="E-SCHEMA-TYPE"):
        check_castable(pa.field("x", type_), "x", Column(type=kind), "test")
