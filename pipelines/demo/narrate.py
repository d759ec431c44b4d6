"""What the demo prints: two lines per night, taken from the ledger, never from the script."""

from __future__ import annotations

from typing import Any

from pipelines.home import Home
from pipelines.ledger import Ledger

Event = dict[str, Any]
_LONGEST = 230


def day_lines(ledger: Ledger, pipeline: str, partition: str, title: str, failed: Event | None) -> tuple[str, str]:
    """Two lines: the rows of the partition, and what became of its scores."""
    row = next((row for row in ledger.accounting(pipeline) if row["partition"] == partition), None)
    first = f"{partition}  {title}"
    if failed:
        return first, f"            REFUSED  {_short(failed['error'])}"
    if row is None:
        return first, "            nothing was read"
    rows = (
        f"read {row['read']:,} = {row['clean']:,} clean + {row['quarantined']:,} quarantined "
        f"+ {row['duplicate']:,} duplicate"
    )
    return first, f"            {rows}; {_scores(ledger, pipeline, partition)}"


def retrain_lines(ledger: Ledger, pipeline: str, event: Event) -> tuple[str, str]:
    """Two lines: why a retrain ran, and what the gate said."""
    decisions = [row for row in ledger.decisions(pipeline, "gate") if row["run_id"].endswith(str(event["run_id"]))]
    decision = decisions[-1] if decisions else None
    first = f"            retrain: {_short(str(event.get('trigger') or 'asked for'))}"
    if decision is None:
        return first, f"            no challenger: {_short(event.get('error') or event['state'])}"
    reasons = "; ".join(decision["reasons"][:2])
    return first, f"            gate: {decision['outcome']} version {decision['model_version']}: {_short(reasons)}"


def places(home: Home, pipeline: str) -> list[tuple[str, str]]:
    """Where everything lies, as (what, path)."""
    return [
        ("the morning report", home.files("reports").address("index.html")),
        ("scores as Parquet", home.files("exports", pipeline).address("partition=*/*.parquet")),
        ("tables (Delta)", home.table(pipeline, "")),
        ("Data Docs, drift reports", home.files("reports", pipeline).root),
        ("MLflow", home.mlflow_uri),
        ("ledger", home.ledger_url),
    ]


def _scores(ledger: Ledger, pipeline: str, partition: str) -> str:
    releases = [row for row in ledger.releases(pipeline, partition) if row["state"] == "released"]
    if not releases:
        return "no scores (no champion yet)"
    drift = ledger.decisions(pipeline, "drift", partition)
    state = f"; drift {drift[-1]['outcome']}" if drift else ""
    return f"{releases[-1]['row_count']:,} scores of version {releases[-1]['model_version']} released{state}"


def _short(text: str) -> str:
    """What is wrong comes first and what to do last: a long line loses its middle."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 80]} ... {text[-75:]}"
