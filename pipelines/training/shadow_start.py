"""How a shadow begins, and how its decisions are written down and told."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pipelines.context import Context
from pipelines.ledger import Row
from pipelines.shadows import KIND, beginning, current_shadow

Summary = dict[str, Any]


def begin_shadow(context: Context, version: int, champion: Row, since: datetime, approved_by: str | None) -> Summary:
    """Puts a challenger that passed the gate beside the champion, from `since` on; 'unchanged' when a retry finds it.

    One at a time: while another is in shadow, the new one is left out (HOLD) and the clock of the other runs on.
    """
    mine = [row for row in decisions(context) if row["run_id"] == context.run_id and row["model_version"] == version]
    if mine:
        return told(mine[-1], "unchanged")
    running = current_shadow(context.ledger, context.name)
    if running:
        reason = (
            f"version {running.version} is in shadow since {running.since:%Y-%m-%d} and finishes first: version "
            f"{version} passed the gate, but is not put beside it. A later retrain brings the next one."
        )
        record(context, "HOLD", version, [reason], {"running": running.version})
        return told(decisions(context)[-1], "skipped") | {"reason": reason}
    label, nights = context.pipeline.label, context.pipeline.gate.shadow or 1
    numbers = beginning(nights, champion, since, context.partition, label.delay_days if label else 0)
    reason = (
        f"version {version} passed the gate and scores beside version {champion['version']} from {since:%Y-%m-%d} on, "
        f"for {nights} partitions; realised labels judge both before it is promoted."
    )
    record(context, "START", version, [reason], numbers | {"approved_by": approved_by})
    return told(decisions(context)[-1], "done")


def decisions(context: Context) -> list[Row]:
    """Everything that was decided about shadows of this pipeline, oldest first."""
    return context.ledger.decisions(context.name, KIND)


def record(context: Context, outcome: str, version: int, reasons: Sequence[str], numbers: dict[str, Any]) -> None:
    """Writes one decision of this run for its partition; a retry replaces it."""
    context.ledger.record_decision(
        context.name,
        KIND,
        context.key,
        run_id=context.run_id,
        outcome=outcome,
        model_version=version,
        reasons=list(reasons),
        numbers=numbers,
    )


def told(decision: Row, state: str) -> Summary:
    """A step's summary from a decision."""
    return {
        "state": state,
        "outcome": decision["outcome"],
        "version": decision["model_version"],
        "reasons": list(decision["reasons"]),
    }
