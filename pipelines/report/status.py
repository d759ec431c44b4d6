"""The state of a pipeline as plain data: what `nightshift status` prints and the morning page shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pipelines.home import Home
from pipelines.ledger import Ledger, Row
from pipelines.shadows import KIND as SHADOW
from pipelines.shadows import shadow_state

DAILY_STEPS = ("ingest", "validate", "deduplicate", "build_features", "score", "audit", "release", "monitor", "shadow")
RETRAIN_STEPS = ("snapshot", "tune", "train", "evaluate", "gate", "approve", "promote")
_COUNTS = ("read", "clean", "quarantined", "duplicate")
_STOPPED = ("failed", "refused")


def status(home: Home, pipeline: str, last: int | None = None) -> dict[str, Any]:
    """Everything the ledger knows about one pipeline, JSON-able; times are ISO 8601 in UTC.

    Keys: `pipeline`; `champion` (None before the first promotion) and `champions`, both as `_champion` describes;
    `models` (newest first); `partitions` (newest first, at most `last`, grain: one partition, see `_partition`);
    `gates` (newest first); `shadow` (the challenger that scores beside the champion, None without one) and `shadows`
    (what was decided about such challengers, newest first); `retrains` (newest first: partition, run_id, state, step
    and error of each run);
    `totals` (counts over the partitions listed).

    `last` bounds the partitions and, by the same number, gates and retrain runs. Reads the ledger only: no table is
    opened.
    """
    ledger = Ledger(home.ledger_url)
    attempts = ledger.attempts(pipeline)
    models = {row["version"]: row for row in ledger.models(pipeline)}
    champions = [_champion(row, models) for row in ledger.champions(pipeline)]
    partitions = _partitions(ledger, home, pipeline, attempts)[:last]
    return {
        "pipeline": pipeline,
        "champion": champions[-1] if champions else None,
        "champions": champions,
        "models": [_model(row) for row in reversed(models.values())],
        "partitions": partitions,
        "gates": [_decision(row) for row in reversed(ledger.decisions(pipeline, "gate"))][:last],
        "shadow": shadow_state(ledger, pipeline),
        "shadows": [_decision(row) for row in reversed(ledger.decisions(pipeline, SHADOW))][:last],
        "retrains": _retrains(attempts)[:last],
        "totals": {name: sum(row[name] or 0 for row in partitions) for name in (*_COUNTS, "scored")},
    }


def pipelines_known(home: Home) -> list[str]:
    """Names of the configured pipelines and of those that only the ledger still knows, in order."""
    from pipelines.settings import pipeline_names

    return sorted({*pipeline_names(home.config), *Ledger(home.ledger_url).pipelines()})


def _partitions(ledger: Ledger, home: Home, pipeline: str, attempts: Sequence[Row]) -> list[dict[str, Any]]:
    accounting = {row["partition"]: row for row in ledger.accounting(pipeline)}
    releases = _latest(ledger.releases(pipeline))
    drift = _latest(ledger.decisions(pipeline, "drift"))
    audits = _latest(ledger.decisions(pipeline, "audit"))
    predictions = {row["partition"]: row for row in ledger.publications(pipeline, "predictions")}
    daily: dict[str, list[Row]] = {}
    for attempt in attempts:
        if attempt["step"] in DAILY_STEPS:
            daily.setdefault(attempt["partition"], []).append(attempt)
    stale = _stale(home, ledger, pipeline)
    keys = sorted({*accounting, *releases, *drift, *daily}, reverse=True)
    return [
        _partition(
            key,
            accounting.get(key),
            releases.get(key),
            drift.get(key),
            audits.get(key),
            predictions.get(key),
            daily.get(key, []),
        )
        | {"is_stale": key in stale}
        for key in keys
    ]


def _partition(
    key: str,
    accounting: Row | None,
    release: Row | None,
    drift: Row | None,
    audit: Row | None,
    predictions: Row | None,
    attempts: Sequence[Row],
) -> dict[str, Any]:
    """One partition. `state` is what to think of it: released, clean (nothing released yet), absent, refused, held (the
    audit said no), failed, retracted or running. `error` and `step` are those of the last attempt that stopped and was
    not repaired since; `repaired` is the error of the last one that was (None when nothing ever stopped)."""
    stopped = _unrepaired(attempts)
    repaired = None if stopped else max(_stopped(attempts), key=lambda attempt: attempt["id"], default=None)
    counts = {name: accounting[name] if accounting else None for name in _COUNTS}
    current = release if release and release["state"] == "released" else None
    return {
        "partition": key,
        "state": _state(accounting, release, audit, stopped, attempts),
        **counts,
        "scored": release["row_count"] if release else predictions["row_count"] if predictions else None,
        "release": release["state"] if release else None,
        "release_id": release["release_id"] if release else None,
        "release_number": release["seq"] if release else None,
        "release_reason": release["reason"] if release else None,
        "model": release["model_version"] if release else None,
        "is_hindsight": bool(current and current["is_hindsight"]),
        "path": release["path"] if release else None,
        "drift": drift["outcome"] if drift else None,
        "drift_reasons": list(drift["reasons"]) if drift else [],
        "drift_numbers": dict(drift["numbers"]) if drift else {},
        "audit": audit["outcome"] if audit else None,
        "audit_reasons": list(audit["reasons"]) if audit else [],
        "accounting": accounting["state"] if accounting else None,
        "accounting_reason": accounting["reason"] if accounting else None,
        "step": stopped["step"] if stopped else None,
        "error": stopped["error"] if stopped else None,
        "repaired": repaired["error"] if repaired else None,
        "attempts": len(attempts),
    }


def _state(
    accounting: Row | None, release: Row | None, audit: Row | None, stopped: Row | None, attempts: Sequence[Row]
) -> str:
    if stopped:
        held = stopped["step"] == "audit" and audit is not None and stopped["state"] == "refused"
        return "held" if held else str(stopped["state"])
    if any(attempt["state"] == "running" for attempt in _last_per_step(attempts)):
        return "running"
    if release:
        return str(release["state"])
    return str(accounting["state"]) if accounting else "running"


def _unrepaired(attempts: Sequence[Row]) -> Row | None:
    """The newest stopped attempt whose step has not been tried again since, or None."""
    return max(_stopped(_last_per_step(attempts)), key=lambda attempt: attempt["id"], default=None)


def _stopped(attempts: Sequence[Row]) -> list[Row]:
    return [attempt for attempt in attempts if attempt["state"] in _STOPPED]


def _last_per_step(attempts: Sequence[Row]) -> list[Row]:
    return list({attempt["step"]: attempt for attempt in attempts}.values())


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


def _retrains(attempts: Sequence[Row]) -> list[dict[str, Any]]:
    """One entry per retrain run, newest first; `state` is that of its last step."""
    runs: dict[str, list[Row]] = {}
    for attempt in attempts:
        if attempt["step"] in RETRAIN_STEPS:
            runs.setdefault(attempt["run_id"], []).append(attempt)
    newest_first = sorted(runs.values(), key=lambda steps: -steps[0]["id"])
    return [_retrain(_last_per_step(steps)) for steps in newest_first]


def _retrain(steps: Sequence[Row]) -> dict[str, Any]:
    stopped, newest = _unrepaired(steps), max(steps, key=lambda step: step["id"])
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


def _latest(rows: Iterable[Row]) -> dict[str, Row]:
    """The last row of each partition; the ledger returns them oldest first."""
    return {row["partition"]: row for row in rows}


def _stale(home: Home, ledger: Ledger, pipeline: str) -> set[str]:
    """Partitions whose published tables were made from inputs that were replaced since.

    Empty when the pipeline's settings cannot be read: `nightshift check` is where that is explained.
    """
    from pipelines.errors import ConfigError
    from pipelines.history import stale_partitions
    from pipelines.settings import load_pipeline, pipeline_names

    if pipeline not in pipeline_names(home.config):
        return set()
    try:
        return set(stale_partitions(ledger, load_pipeline(pipeline, home.config)))
    except ConfigError:
        return set()
