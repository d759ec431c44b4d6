"""What became of each partition, as plain data: of one pipeline or of many at once, only as far back as asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pipelines.ledger import Ledger, Row
from pipelines.ledger.glances import Spans

DAILY_STEPS = ("ingest", "validate", "deduplicate", "build_features", "score", "audit", "release", "monitor", "shadow")
COUNTS = ("read", "clean", "quarantined", "duplicate")
EVER = "\U0010ffff"  # after every key
_STOPPED = ("failed", "refused")


def newest_spans(ledger: Ledger, pipelines: Sequence[str], count: int) -> dict[str, tuple[str, str]]:
    """From the oldest of the newest `count` partitions that were accounted for to all that come after it.

    A pipeline of which no partition ever came so far has all that it has.
    """
    firsts = ledger.newest_firsts(pipelines, count) if pipelines else {}
    return {name: (firsts.get(name, ""), EVER) for name in pipelines}


def nights(ledger: Ledger, spans: Spans, drift_numbers: bool = True) -> dict[str, list[dict[str, Any]]]:
    """The partitions within each pipeline's span, newest first, each as `_night` describes.

    Args:
        drift_numbers: False leaves `drift_numbers` empty: they are most of what there is to read.
    """
    accounting = _by_key(ledger.accounting_within(spans))
    releases = _by_key(ledger.releases_within(spans))
    drift = _by_key(ledger.decisions_within(spans, ["drift"], drift_numbers))
    audits = _by_key(ledger.decisions_within(spans, ["audit"], numbers=False))
    predictions = _by_key(ledger.published_within(spans, ["predictions"]))
    counts = _by_key(ledger.attempt_counts_within(spans, DAILY_STEPS))
    stopped: dict[tuple[str, str], list[Row]] = {}
    for attempt in ledger.stopped_within(spans, DAILY_STEPS):
        stopped.setdefault((attempt["pipeline"], attempt["partition"]), []).append(attempt)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in spans}
    for place in sorted({*accounting, *releases, *drift, *counts}, reverse=True):
        facts = [one.get(place) for one in (accounting, releases, drift, audits, predictions)]
        night = _night(place[1], facts, stopped.get(place, []), counts.get(place))
        found[place[0]].append(night)
    return found


def _by_key(rows: Iterable[Row]) -> dict[tuple[str, str], Row]:
    """The last row of each partition; the ledger returns them oldest first."""
    return {(row["pipeline"], row["partition"]): row for row in rows}


def _night(
    key: str,
    facts: Sequence[Row | None],
    attempts: Sequence[Row],
    counted: Row | None,
) -> dict[str, Any]:
    """One partition. `state` is what to think of it: released, clean (nothing released yet), absent, refused, held (the
    audit said no), failed, retracted or running. `error` and `step` are those of the last attempt that stopped and was
    not repaired since; `repaired` is the error of the last one that was (None when nothing ever stopped). `attempts`
    counts those of daily steps, `at` is when anything last happened (ISO 8601, UTC).

    Args:
        facts: its accounting, newest release, drift decision, audit and publication of predictions.
        attempts: all of a night in which something stopped or runs; none of any other night.
        counted: how many there were in all, and when.
    """
    accounting, release, drift, audit, predictions = facts
    stopped = unrepaired(attempts)
    repaired = None if stopped else max(_stopped(attempts), key=lambda attempt: attempt["id"], default=None)
    counts = {name: accounting[name] if accounting else None for name in COUNTS}
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
        "drift_numbers": dict(drift.get("numbers", {})) if drift else {},
        "audit": audit["outcome"] if audit else None,
        "audit_reasons": list(audit["reasons"]) if audit else [],
        "accounting": accounting["state"] if accounting else None,
        "accounting_reason": accounting["reason"] if accounting else None,
        "step": stopped["step"] if stopped else None,
        "error": stopped["error"] if stopped else None,
        "repaired": repaired["error"] if repaired else None,
        "attempts": counted["attempts"] if counted else 0,
        "at": _at(accounting, release, counted),
    }


def _state(
    accounting: Row | None, release: Row | None, audit: Row | None, stopped: Row | None, attempts: Sequence[Row]
) -> str:
    if stopped:
        held = stopped["step"] == "audit" and audit is not None and stopped["state"] == "refused"
        return "held" if held else str(stopped["state"])
    if any(attempt["state"] == "running" for attempt in last_per_step(attempts)):
        return "running"
    if release:
        return str(release["state"])
    return str(accounting["state"]) if accounting else "running"


def _at(accounting: Row | None, release: Row | None, counted: Row | None) -> str | None:
    moments = [counted["began"], counted["ended"]] if counted else []
    moments += [accounting["updated_at"]] if accounting else []
    moments += [release["released_at"]] if release else []
    known = [moment for moment in moments if moment]
    return max(known).isoformat() if known else None


def unrepaired(attempts: Sequence[Row]) -> Row | None:
    """The newest stopped attempt whose step has not been tried again since, or None."""
    return max(_stopped(last_per_step(attempts)), key=lambda attempt: attempt["id"], default=None)


def last_per_step(attempts: Sequence[Row]) -> list[Row]:
    return list({attempt["step"]: attempt for attempt in attempts}.values())


def _stopped(attempts: Sequence[Row]) -> list[Row]:
    return [attempt for attempt in attempts if attempt["state"] in _STOPPED]
