"""The state of a pipeline as plain data: what `nightshift status` prints and the morning page shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipelines.home import Home
from pipelines.ledger import Ledger, Row
from pipelines.ledger.glances import Spans
from pipelines.report.nights import COUNTS, EVER, last_per_step, newest_spans, nights, unrepaired
from pipelines.shadows import KIND as SHADOW
from pipelines.shadows import shadow_state

RETRAIN_STEPS = ("snapshot", "tune", "train", "evaluate", "gate", "approve", "promote")


def status(home: Home, pipeline: str, last: int | None = None) -> dict[str, Any]:
    """Everything the ledger knows about one pipeline, JSON-able; times are ISO 8601 in UTC.

    Keys: `pipeline`; `champion` (None before the first promotion) and `champions`, both as `_champion` describes;
    `models` (newest first); `partitions` (newest first, at most `last`, grain: one partition, see `nights`);
    `gates` (newest first); `shadow` (the challenger that scores beside the champion, None without one) and `shadows`
    (what was decided about such challengers, newest first); `retrains` (newest first: partition, run_id, state, step
    and error of each run);
    `totals` (counts over the partitions listed).

    `last` bounds the partitions and, by the same number, gates and retrain runs. Reads the ledger only: no table is
    opened.
    """
    ledger = Ledger(home.ledger_url)
    models = {row["version"]: row for row in ledger.models(pipeline)}
    champions = [_champion(row, models) for row in ledger.champions(pipeline)]
    partitions = _partitions(ledger, home, pipeline, last)
    return {
        "pipeline": pipeline,
        "champion": champions[-1] if champions else None,
        "champions": champions,
        "models": [_model(row) for row in reversed(models.values())],
        "partitions": partitions,
        "gates": [_decision(row) for row in ledger.newest_decisions(pipeline, ["gate"], last)],
        "shadow": shadow_state(ledger, pipeline),
        "shadows": [_decision(row) for row in ledger.newest_decisions(pipeline, [SHADOW], last)],
        "retrains": retrains(ledger.newest_runs(pipeline, RETRAIN_STEPS, last)),
        "totals": {name: sum(row[name] or 0 for row in partitions) for name in (*COUNTS, "scored")},
    }


def in_brief(home: Home, last: int) -> list[dict[str, Any]]:
    """Of every pipeline `pipeline`, `champion` (with its version alone, or None), the newest `last` of its
    `partitions` without drift's numbers, and their number `count` over all time."""
    ledger = Ledger(home.ledger_url)
    names = pipelines_known(home, ledger)
    champions, counts = ledger.newest_champions(names), ledger.partition_counts()
    seen = nights(ledger, newest_spans(ledger, names, last), numbers="none")
    return [
        {
            "pipeline": name,
            "champion": {"version": champions[name]["version"]} if name in champions else None,
            "partitions": seen[name][:last],
            "count": counts.get(name, 0) + sum(night["accounting"] is None for night in seen[name]),
        }
        for name in names
    ]


def pipelines_known(home: Home, ledger: Ledger | None = None) -> list[str]:
    """Names of the configured pipelines and of those that only the ledger still knows, in order."""
    from pipelines.settings import pipeline_names

    return sorted({*pipeline_names(home.config), *(ledger or Ledger(home.ledger_url)).pipelines()})


def _partitions(ledger: Ledger, home: Home, pipeline: str, last: int | None) -> list[dict[str, Any]]:
    spans = newest_spans(ledger, [pipeline], last) if last is not None else {pipeline: ("", EVER)}
    stale = _stale(home, ledger, spans).get(pipeline, set())
    return [row | {"is_stale": row["partition"] in stale} for row in nights(ledger, spans)[pipeline][:last]]


def _champion(row: Row, models: dict[int, Row]) -> dict[str, Any]:
    """One change of champion: version, since (effective_from), why, who, and the model's own record."""
    model = models.get(row["version"])
    return {
        "version": row["version"],
        "number": row["seq"],
        "since": row["effective_from"].isoformat(),
        "action": row["action"],
        "reason": row["reason"],
        "actor": row["actor"],
        "decided_at": row["decided_at"].isoformat(),
        "model": _model(model) if model else None,
    }


def _model(row: Row) -> dict[str, Any]:
    return {
        "version": row["version"],
        "as_of": row["as_of"].isoformat(),
        "created_at": row["created_at"].isoformat(),
        "mlflow_run_id": row["mlflow_run_id"],
        "artifact_uri": row["artifact_uri"],
        # Without what only a replay and a drill read, which is long.
        "record": {name: value for name, value in row["record"].items() if name not in ("made_from", "sample")},
    }


def _decision(row: Row) -> dict[str, Any]:
    return {
        "partition": row["partition"],
        "outcome": row["outcome"],
        "version": row["model_version"],
        "reasons": list(row["reasons"]),
        "numbers": dict(row["numbers"]),
        "run_id": row["run_id"],
        "decided_at": row["decided_at"].isoformat(),
    }


def retrains(attempts: Sequence[Row]) -> list[dict[str, Any]]:
    """One entry per retrain run, newest first; `state` is that of its last step."""
    runs: dict[str, list[Row]] = {}
    for attempt in attempts:
        runs.setdefault(attempt["run_id"], []).append(attempt)
    newest_first = sorted(runs.values(), key=lambda steps: -steps[0]["id"])
    return [_retrain(last_per_step(steps)) for steps in newest_first]


def _retrain(steps: Sequence[Row]) -> dict[str, Any]:
    stopped, newest = unrepaired(steps), max(steps, key=lambda step: step["id"])
    end = newest["ended_at"]
    return {
        "partition": newest["partition"],
        "run_id": newest["run_id"],
        "step": (stopped or newest)["step"],
        "state": (stopped or newest)["state"],
        "error": stopped["error"] if stopped else None,
        "started_at": min(step["started_at"] for step in steps).isoformat(),
        "ended_at": end.isoformat() if end else None,
    }


def _stale(home: Home, ledger: Ledger, spans: Spans) -> dict[str, set[str]]:
    """Partitions whose published tables were made from inputs that were replaced since, of configured pipelines."""
    from pipelines.history import stale_partitions
    from pipelines.settings import pipeline_names

    configured = set(pipeline_names(home.config))
    return stale_partitions(ledger, {name: span for name, span in spans.items() if name in configured})
