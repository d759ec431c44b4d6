"""Small pieces of evidence for the scorecard's tests, written out."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

from pipelines.scorecard.card import judged
from pipelines.scorecard.evidence import Evidence
from pipelines.scorecard.rubric import TESTS
from tests.builders import pipeline, utc

TODAY = date(2026, 4, 1)
LIMITED = {"build_features": {"time_limit_minutes": 5}, "score": {"time_limit_minutes": 5}}
BY_KEY = {test.key: test for test in TESTS}


def known(changes: dict[str, Any] | None = None, **facts: Any) -> Evidence:
    return Evidence(pipeline=pipeline(**(changes or {})), today=TODAY, **facts)


def points(key: str, evidence: Evidence) -> float:
    return float(judged(BY_KEY[key], evidence)["points"])


def ran(step: str, *days: str, state: str = "done", code: str = "c1", **summary: Any) -> dict[str, Any]:
    """Attempts of one step, newest first, two seconds each."""
    rows = [
        {
            "partition": day,
            "state": state,
            "started_at": (start := datetime.fromisoformat(f"{day}T03:00:00+00:00")),
            "ended_at": start + timedelta(seconds=2),
            "peak_rss_mib": 100,
            "code_version": code,
            "error": None,
            "summary": summary,
        }
        for day in days
    ]
    return {step: rows}


def decided(outcome: str = "OK", version: int = 1, day: str = "2026-03-02", **numbers: Any) -> dict[str, Any]:
    moment = datetime.fromisoformat(f"{day}T05:00:00+00:00")
    return {
        "partition": day,
        "outcome": outcome,
        "model_version": version,
        "decided_at": moment,
        "reasons": ["because"],
        "numbers": numbers,
    }


def gate(*found: tuple[str, bool, dict[str, Any]], version: int = 1, outcome: str = "PROMOTE", **numbers: Any) -> Any:
    checks = [{"name": name, "passed": passed, "text": name, "numbers": facts} for name, passed, facts in found]
    return decided(outcome, version, checks=checks, metric="roc_auc", **numbers)


def promoted(version: int = 1, action: str = "promote", day: str = "2026-03-02") -> dict[str, Any]:
    return {"version": version, "action": action, "decided_at": utc(f"{day}T06:00:00")}


CHAMPION = {"champions": [promoted()]}
TWO = ("2026-03-02", "2026-03-01")
CLEAN = [{"partition": day, "state": "clean", "read": 10, "quarantined": 1} for day in TWO]
RULES = [{"kwargs": {"column": "amount_eur"}}, {"kwargs": {"column_list": ["country", "card_id"]}}]
REALISED = {"metric": "roc_auc", "value": 0.8, "holdout": 0.9, "rows": 50, "partitions": ["2026-03-01"]}
SHUFFLED = {"features": [{"feature": "a", "loss": 0.1}, {"feature": "b", "loss": 0.0}], "rows": 9, "metric": "roc_auc"}
AGED = ("champion", True, {"gain": 0.01})
WHOLE_WAY = {
    k: v
    for step in ("ingest", "validate", "build_features", "score", "release", "train")
    for k, v in ran(step, "2026-03-02").items()
}


SENT = {"connection": "chat", "sent_at": utc("2026-03-03T04:00:00"), "title": "payments 2026-03-02: refused"}


def realised(version: int, offline: float, online: float) -> dict[str, Any]:
    return decided(version=version, realised=REALISED | {"holdout": offline, "value": online})


def replayed(day: str, version: int = 1, verdict: str = "equal") -> dict[str, Any]:
    return ran("replay", day, version=version, verdict=verdict)["replay"][0]
