"""What became of each partition, as plain data: of one pipeline or of many at once, only as far back as asked for."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Literal

from pipelines.ledger import Ledger, Row
from pipelines.ledger.glances import Spans

DAILY_STEPS = ("ingest", "validate", "deduplicate", "build_features", "score", "audit", "release", "monitor", "shadow")
COUNTS = ("read", "clean", "quarantined", "duplicate")
EVER = "\U0010ffff"  # after every key
_STOPPED = ("failed", "refused")
_MOST_KEPT = 4096
Place = tuple[str, str]  # pipeline and partition


def newest_spans(ledger: Ledger, pipelines: Sequence[str], count: int) -> dict[str, tuple[str, str]]:
    """From the oldest of the newest `count` partitions that were accounted for to all that come after it.

    A pipeline of which no partition ever came so far has all that it has.
    """
    firsts = ledger.newest_firsts(pipelines, count) if pipelines else {}
    return {name: (firsts.get(name, ""), EVER) for name in pipelines}


Numbers = Literal["all", "quality", "none"]


def nights(ledger: Ledger, spans: Spans, numbers: Numbers = "all") -> dict[str, list[dict[str, Any]]]:
    """The partitions within each pipeline's span, newest first, each as `_night` describes.

    Args:
        numbers: of `drift_numbers`, which are most of what there is to read: all, `realised` and `estimated` alone, or
            none.
    """
    accounting = _by_key(ledger.accounting_within(spans))
    releases = _by_key(ledger.releases_within(spans))
    drift = _by_key(ledger.decisions_within(spans, ["drift"], numbers != "none", is_raw=numbers == "quality"))
    audits = _by_key(ledger.decisions_within(spans, ["audit"], numbers=False))
    counts = _by_key(ledger.attempt_counts_within(spans, DAILY_STEPS))
    stopped = _attempts_of(ledger, [place for place, row in counts.items() if row["unfinished"]])
    places = sorted({*accounting, *releases, *drift, *counts}, reverse=True)
    unreleased = _spans_of([place for place in places if place not in releases])
    predictions = _by_key(ledger.published_within(unreleased, ["predictions"]))
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in spans}
    for place in places:
        facts = [one.get(place) for one in (accounting, releases, drift, audits, predictions)]
        found[place[0]].append(_night(place[1], facts, stopped.get(place, []), counts.get(place)))
    return found


def _attempts_of(ledger: Ledger, places: Sequence[Place]) -> dict[Place, list[Row]]:
    """The attempts of nights in which something stopped or runs; those of all others say nothing more."""
    wanted = set(places)
    found: dict[Place, list[Row]] = {}
    for attempt in ledger.attempts_within(_spans_of(places), DAILY_STEPS):
        place = (attempt["pipeline"], attempt["partition"])
        if place in wanted:
            found.setdefault(place, []).append(attempt)
    return found


def _spans_of(places: Sequence[Place]) -> dict[str, tuple[str, str]]:
    """From the first to the last of each pipeline's places."""
    keys: dict[str, list[str]] = {}
    for name, key in places:
        keys.setdefault(name, []).append(key)
    return {name: (min(mine), max(mine)) for name, mine in keys.items()}


@lru_cache(maxsize=_MOST_KEPT)
def _quality_numbers(text: str) -> dict[str, Any]:
    """What a drift decision says of quality, by the JSON of its numbers; kept, since pages ask for the same nights."""
    found = json.loads(text)
    return {name: found.get(name) for name in ("realised", "estimated")}


def _by_key(rows: Iterable[Row]) -> dict[Place, Row]:
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
        "drift_numbers": _numbers(drift),
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


def _numbers(drift: Row | None) -> dict[str, Any]:
    found = drift.get("numbers", {}) if drift else {}
    return _quality_numbers(found) if isinstance(found, str) else dict(found)


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
