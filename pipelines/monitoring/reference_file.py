"""A reference as bytes, so that it is computed once per champion."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from pipelines.monitoring.reference import ColumnReference, Reference
from pipelines.monitoring.statistics import Bins, ColumnStatistics


def reference_bytes(reference: Reference) -> bytes:
    """What `parsed_reference` reads."""
    content = {
        "rows": reference.rows,
        "columns": {
            name: {"bins": asdict(column.bins), "parts": [part.to_dict() for part in column.parts]}
            for name, column in reference.columns.items()
        },
    }
    return json.dumps(content, sort_keys=False).encode()


def parsed_reference(saved: bytes) -> Reference:
    content = json.loads(saved)
    columns = {
        name: ColumnReference(_bins(column["bins"]), tuple(map(ColumnStatistics.of, column["parts"])))
        for name, column in content["columns"].items()
    }
    return Reference(dict(content["rows"]), columns)


def _bins(values: dict[str, Any]) -> Bins:
    return Bins(
        kind=values["kind"],
        edges=tuple(values["edges"]),
        categories=tuple(values["categories"]),
        known=None if values["known"] is None else tuple(values["known"]),
    )
