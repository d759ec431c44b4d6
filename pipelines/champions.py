"""Who became champion, when, by whom and why: the history of one pipeline as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

from pipelines.approvals import KIND as APPROVAL
from pipelines.ledger import Ledger, Row
from pipelines.shadows import KIND as SHADOW


def champion_history(ledger: Ledger, pipeline: str) -> dict[str, Any]:
    """`changes`, `approvals` (what became of each question whether to promote) and `shadows` (decisions about
    challengers in shadow), oldest first, and `drill`, the newest rollback drill (None before the first); times in ISO
    8601, UTC.

    Grain: one change. `trigger` is what asked for the retrain that a promotion came from; `until` is when the next
    champion took over (None: still in force). A champion whose `until` is its `from` never scored a day.
    """
    rows = ledger.champions(pipeline)
    triggers = {
        row["run_id"]: (row["summary"] or {}).get("trigger")
        for row in ledger.attempts(pipeline)
        if row["step"] == "snapshot"
    }
    changes = [
        {
            "number": row["seq"],
            "version": row["version"],
            "action": row["action"],
            "actor": row["actor"],
            "reason": row["reason"],
            "trigger": triggers.get(row["run_id"]) if row["action"] == "promote" else None,
            "decided_at": row["decided_at"].isoformat(timespec="seconds"),
            "from": row["effective_from"].isoformat(timespec="seconds"),
            "until": later["effective_from"].isoformat(timespec="seconds") if later else None,
            "run_id": row["run_id"],
        }
        for row, later in zip_longest(rows, rows[1:])
    ]
    return {
        "pipeline": pipeline,
        "changes": changes,
        "approvals": [
            _decided(row) | {"partition": row["partition"]} | _answered(row["numbers"])
            for row in ledger.decisions(pipeline, APPROVAL)
        ],
        "shadows": [_decided(row) | {"partition": row["partition"]} for row in ledger.decisions(pipeline, SHADOW)],
        "drill": _drill(ledger, pipeline),
    }


def _answered(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Who answered and when (None: nobody), and the risks that they were shown."""
    return {"by": numbers.get("by"), "answered_at": numbers.get("answered_at"), "risks": numbers.get("risks")}


def _drill(ledger: Ledger, pipeline: str) -> dict[str, Any] | None:
    rows = ledger.decisions(pipeline, "drill")
    if not rows:
        return None
    return {"month": rows[-1]["partition"]} | _decided(rows[-1])


def _decided(row: Row) -> dict[str, Any]:
    return {
        "version": row["model_version"],
        "outcome": row["outcome"],
        "reasons": list(row["reasons"]),
        "decided_at": row["decided_at"].isoformat(timespec="seconds"),
    }
