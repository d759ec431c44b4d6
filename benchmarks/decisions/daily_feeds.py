"""Two real daily feeds as the step `validate` sees them, and the errors that are put into them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from benchmarks.decisions.data_errors import (
    Injected,
    default_flood,
    explicit_missing,
    implicit_missing,
    numeric_anomaly,
    swapped,
    truncated,
    typo,
    unit_change,
)

Feed = dict[str, pa.Table]

_RETAIL: dict[str, tuple[str, Any]] = {
    "invoice_no": ("InvoiceNo", pa.string()),
    "stock_code": ("StockCode", pa.string()),
    "description": ("Description", pa.string()),
    "quantity": ("Quantity", pa.int64()),
    "invoiced_at": ("InvoiceDate", pa.timestamp("us")),
    "unit_price_gbp": ("UnitPrice", pa.float64()),
    "customer_id": ("CustomerID", pa.string()),
    "country": ("Country", pa.string()),
}
_BIKE: dict[str, Any] = {
    "instant": pa.string(),
    "observed_at": pa.timestamp("us"),
    **dict.fromkeys(("season", "holiday", "workingday", "weathersit"), pa.int64()),
    **dict.fromkeys(("temp", "atemp", "hum", "windspeed"), pa.float64()),
    "cnt": pa.int64(),
}

RETAIL_ERRORS: tuple[Injected, ...] = (
    *map(explicit_missing, ("description", "unit_price_gbp", "customer_id", "country")),
    *map(implicit_missing, ("description", "unit_price_gbp", "customer_id", "country")),
    *map(numeric_anomaly, ("quantity", "unit_price_gbp")),
    swapped("quantity", "unit_price_gbp"),
    swapped("description", "country"),
    *map(typo, ("description", "country", "stock_code")),
    unit_change("unit_price_gbp", 100),
    unit_change("quantity", 12),
    truncated(),
    default_flood("quantity", 1),
    default_flood("unit_price_gbp", 0),
    default_flood("country", "Unspecified"),
)
BIKE_ERRORS: tuple[Injected, ...] = (
    *map(explicit_missing, ("temp", "windspeed", "cnt", "weathersit")),
    *map(implicit_missing, ("temp", "windspeed", "cnt", "weathersit")),
    *map(numeric_anomaly, ("temp", "hum", "windspeed", "cnt")),
    swapped("hum", "windspeed"),
    swapped("temp", "hum"),
    swapped("holiday", "workingday"),
    typo("instant"),
    unit_change("temp", 41),
    unit_change("hum", 100),
    unit_change("windspeed", 67),
    truncated(),
    default_flood("temp", 0),
    default_flood("hum", 0),
    default_flood("cnt", 1),
)


def online_retail(data: Path) -> Feed:
    """305 days of invoices; no Saturdays."""
    names = {source: name for name, (source, _) in _RETAIL.items()}
    types = dict(_RETAIL.values())
    options = csv.ConvertOptions(column_types=types, strings_can_be_null=True, include_columns=list(names))
    days = sorted((data / "online_retail").glob("*.csv.gz"))
    return {
        path.name[:10]: _in_utc(csv.read_csv(path, convert_options=options).rename_columns(list(_RETAIL)))
        for path in days
    }


def bike_sharing(data: Path) -> Feed:
    """731 days of 24 hours; seasonal and growing."""
    options = csv.ConvertOptions(column_types=_BIKE, include_columns=list(_BIKE))
    rows = csv.read_csv(data / "bike_sharing" / "hour.csv.gz", convert_options=options)
    day = pc.strftime(rows.column("observed_at"), format="%Y-%m-%d")
    return {key: _in_utc(rows.filter(pc.equal(day, key))) for key in sorted(set(day.to_pylist()))}


def start_of(key: str) -> datetime:
    return datetime.fromisoformat(f"{key}T00:00:00+00:00")


def _in_utc(rows: pa.Table) -> pa.Table:
    at = next(index for index, field in enumerate(rows.schema) if pa.types.is_timestamp(field.type))
    return rows.set_column(at, rows.column_names[at], rows.column(at).cast(pa.timestamp("us", "UTC")))
