"""The quarantine of one partition: reasons with their counts, and a few rows of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pipelines.errors import ConfigError
from pipelines.home import Home
from pipelines.ledger import Ledger
from pipelines.storage.tables import Snapshot

_LONGEST_RECORD = 120


def quarantine(
    home: Home, name: str, key: str, most: int | None = None, ledger: Ledger | None = None
) -> dict[str, Any]:
    """`{"pipeline", "partition", "rows", "reasons": [...], "records": [...]}`.

    A reason has `code`, `stage`, `rows` and an example of its text; most frequent first. A record has row_id,
    source_file, source_line, stage, reasons and the record as it came. A row with two reasons counts in both.

    Args:
        most: read and count at most so many rows.
        ledger: the home's, where it is open already.

    Raises:
        ConfigError: E-RUN-PARTITION when nothing was ever ingested for this partition.
    """
    snapshot = Snapshot.latest(home.table(name, "quarantine"))
    is_known = (ledger or Ledger(home.ledger_url)).accounting_of(name, key) is not None
    if not snapshot.exists or not (is_known or key in snapshot.partitions()):
        raise ConfigError(
            "E-RUN-PARTITION",
            f"{name} {key}",
            "this partition was not ingested yet",
            f"nightshift run {name} --from {key}",
        )
    columns = ["row_id", "source_file", "source_line", "stage", "reasons", "record"]
    rows = snapshot.read([key], columns, most).sort_by("row_id").to_pylist()
    return {
        "pipeline": name,
        "partition": key,
        "rows": len(rows),
        "reasons": _reasons(rows),
        "records": rows,
    }


def _reasons(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        for reason in dict.fromkeys(row["reasons"] or ["UNKNOWN"]):
            code, _, text = reason.partition(":")
            entry = found.setdefault(
                (row["stage"], code), {"code": code, "stage": row["stage"], "rows": 0, "example": text.strip()}
            )
            entry["rows"] += 1
    return sorted(found.values(), key=lambda entry: (-entry["rows"], entry["stage"], entry["code"]))


def samples(rows: Iterable[Mapping[str, Any]], code: str, stage: str, most: int) -> list[Mapping[str, Any]]:
    """The first rows that were refused for this reason."""
    fitting = [
        row
        for row in rows
        if row["stage"] == stage and any(reason.partition(":")[0] == code for reason in row["reasons"] or ["UNKNOWN"])
    ]
    return fitting[:most]


def how_values_are_shown(samples: int, whole: bool) -> str:
    """For whoever reads reasons and records one below the other, where the same value may look different."""
    reasons = "A reason may quote a value masked: 9 stands for a digit, x for a letter."
    if not samples:
        return f"{reasons} The values lie in the rows, which --samples shows."
    if whole:
        return f"{reasons} The rows below are as they came."
    return (
        f"{reasons} The rows below are as they came, with at most {_LONGEST_RECORD} characters each; "
        "--show-values shows them whole."
    )


def shortened(record: str | None, whole: bool) -> str:
    """The record on one line; personal data may stand in it, so that only its beginning is shown."""
    text = (record or "").replace("\n", "\\n").replace("\r", "\\r")
    return text if whole or len(text) <= _LONGEST_RECORD else text[:_LONGEST_RECORD] + f"... ({len(text):,} characters)"
