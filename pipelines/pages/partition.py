"""One partition: what came in, what was refused, what became of it, and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.errors import NightshiftError
from pipelines.home import Home
from pipelines.pages import addresses, offers
from pipelines.pages.known import ledger_of
from pipelines.pages.partition_facts import partition_facts
from pipelines.pages.rendering import render
from pipelines.validate.texts import masked

_MOST_ROWS_READ = 5_000
_MOST_SAMPLES = 5
_MOST_COLUMNS = 12
_LONGEST_RECORD = 120


def page(home: Home, name: str, key: str, may_start: offers.MayStart, query: Mapping[str, str]) -> str:
    """Raises ConfigError E-RUN-PARTITION for a key that is no partition of this pipeline."""
    one = partition_facts(home, name, key)
    is_released = bool(one["night"] and one["night"]["release"] == "released")
    return render(
        "partition",
        way=[(name, addresses.pipeline(name))],
        one=one,
        quarantine=quarantine(home, name, key) if one["night"] and one["night"]["quarantined"] else None,
        drift=drift(one["decisions"]),
        audit=next((row for row in one["decisions"] if row["kind"] == "audit"), None),
        others=[row for row in one["decisions"] if row["kind"] not in ("audit", "drift")],
        buttons=offers.of_partition(home, name, key, bool(one["attempts"]), is_released, may_start),
        notice=offers.notice(name, query),
    )


def quarantine(home: Home, name: str, key: str) -> dict[str, Any]:
    """Reasons with their counts and at most five rows of each, values masked; `problem` where they cannot be read."""
    from pipelines import quarantined

    try:
        found = quarantined.quarantine(home, name, key, _MOST_ROWS_READ, ledger_of(home))
    except NightshiftError as error:
        return {"problem": str(error), "reasons": [], "is_partial": False}
    reasons = []
    for reason in found["reasons"]:
        rows = quarantined.samples(found["records"], reason["code"], reason["stage"], _MOST_SAMPLES)
        reasons.append(reason | {"samples": _samples(rows)})
    return {"problem": "", "reasons": reasons, "is_partial": found["rows"] >= _MOST_ROWS_READ}


def _samples(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The file and line of each row, and its text by shape alone: letters as x, digits as 9."""
    return [
        {
            "place": f"{row['source_file']}, line {row['source_line']}",
            "row_id": row["row_id"],
            "text": masked((row["record"] or "").replace("\n", " "), _LONGEST_RECORD),
        }
        for row in rows
    ]


def drift(decisions: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The newest drift decision with the columns behind it: those that are not quiet, the most important first."""
    newest = next((row for row in decisions if row["kind"] == "drift"), None)
    if newest is None:
        return None
    columns = newest["numbers"].get("columns") or {}
    loud = [{"name": name, **facts} for name, facts in columns.items() if facts.get("grade") != "quiet"]
    loud.sort(key=lambda row: (-(row.get("importance") or 0), row["name"]))
    return {
        **newest,
        "columns": loud[:_MOST_COLUMNS],
        "more": max(0, len(loud) - _MOST_COLUMNS),
        "quiet": len(columns) - len(loud),
        "realised": newest["numbers"].get("realised"),
        "estimated": newest["numbers"].get("estimated"),
    }
