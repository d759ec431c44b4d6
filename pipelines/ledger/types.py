"""Column types that take and give the same values on SQLite and on PostgreSQL."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, DateTime, Dialect, Integer, String, Text
from sqlalchemy.types import TypeDecorator

# SQLite numbers rows by itself only in a column of its own integer type, which has 64 bits anyway.
Big = BigInteger().with_variant(Integer, "sqlite")

# Without a length: PostgreSQL would refuse what SQLite takes. In the order of code points whatever the server's locale.
Key = String().with_variant(String(collation="C"), "postgresql")


class UtcTime(TypeDecorator[datetime]):
    """A moment: aware, in UTC. SQLite keeps no zone, and PostgreSQL answers in that of the session."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is not None and value.tzinfo is None:
            raise ValueError(f"a moment must have a time zone, got {value.isoformat()}")
        return value and value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        return value and (value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC))


class Json(TypeDecorator[Any]):
    """A JSON value as text: PostgreSQL's own type refuses NaN, which a summary may hold."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:  # noqa: ARG002
        return None if value is None else json.dumps(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:  # noqa: ARG002
        return None if value is None else json.loads(value)


class FreeText(TypeDecorator[str]):
    """Words of people and libraries: what PostgreSQL cannot store (NUL, half a surrogate pair) is written escaped."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        return value and value.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")
