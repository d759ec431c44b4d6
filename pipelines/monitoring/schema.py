"""Whether the features still are the columns that the champion learnt from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa


def schema_reasons(schema: pa.Schema, known: Any) -> list[str]:
    """A sentence per column of the champion that is gone or no longer a number; `known`: the record's features.

    A record without kinds only tells which columns there were.
    """
    if not isinstance(known, list | Mapping):
        return []
    gone = [
        f"SCHEMA '{name}' is missing, the champion was trained on it." for name in known if name not in schema.names
    ]
    kinds = known if isinstance(known, Mapping) else {}
    changed = [
        f"SCHEMA '{name}' is of type {schema.field(name).type}, the champion was trained on a number."
        for name, kind in kinds.items()
        if kind == "number" and name in schema.names and _is_text(schema.field(name).type)
    ]
    return gone + changed


def _is_text(dtype: pa.DataType) -> bool:
    return bool(pa.types.is_string(dtype) or pa.types.is_large_string(dtype))
