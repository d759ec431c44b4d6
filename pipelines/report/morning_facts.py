"""What the morning report tells of a night, as plain data: of each pipeline the newest partitions up to that night."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from pipelines.approvals import KIND as APPROVAL
from pipelines.approvals import WAITING
from pipelines.home import Home
from pipelines.ledger import Ledger, Row
from pipelines.ledger.glances import Spans
from pipelines.report.needs import needs
from pipelines.report.nights import DAILY_STEPS, EVER, nights
from pipelines.report.status import RETRAIN_STEPS, pipelines_known, retrains
from pipelines.report.story import notes, story, without_repeats
from pipelines.report.trend import champion_changes, quality
from pipelines.shadows import KIND as SHADOW
from pipelines.shadows import shadow_state

MOST_PARTITIONS = 14
_VALIDATED = "quarantine/validate"
_DRAWN = 28  # partitions in the drawing of quality: labels come late
_KEPT = (
    *("partition", "state", "read", "clean", "quarantined", "duplicate", "scored", "model", "is_hindsight", "release"),
    *("drift", "drift_reasons", "step", "error", "repaired", "is_stale", "links"),
)

Facts = dict[str, Any]


def night_of(partition: str) -> str:
    """The date under which a partition is reported: that on which it begins."""
    return partition[:10]


def morning_facts(home: Home, night: str | None = None) -> Facts:
    """JSON-able: `night` (by default the newest; None before the first), `is_newest`, and in `pipelines` one entry per
    pipeline that has a partition up to that night, by name.

    Keys of an entry: `pipeline`, `newest` and `partitions` (newest first, at most 14), `champion` (None: none yet),
    `needs` (as `pipelines.report.needs` has them; of what the clock alone would tell there is nothing), `notes`,
    `story`, `gate` (the newest decision, None without one), `quality` (None below two values). Of an earlier night all
    of it is what is known of the partitions up to it today.
    """
    ledger = Ledger(home.ledger_url)
    names = pipelines_known(home, ledger)
    keys = {name: ledger.partition_keys(name, DAILY_STEPS, newest=_DRAWN) for name in names}
    newest = max((night_of(found[0]) for found in keys.values() if found), default=None)
    is_newest = night is None or newest is None or night >= newest
    chosen = newest if is_newest else night
    if chosen is None:
        return {"night": None, "is_newest": True, "pipelines": []}
    if not is_newest:
        keys = {name: ledger.partition_keys(name, DAILY_STEPS, newest=_DRAWN, last=chosen + EVER) for name in names}
    spans = {name: (found[-1], chosen + EVER) for name, found in keys.items() if found}
    states = _states(home, ledger, spans, chosen, is_newest)
    return {"night": chosen, "is_newest": is_newest, "pipelines": [entry(one) for one in states]}


def _states(home: Home, ledger: Ledger, spans: Spans, night: str, is_newest: bool) -> Iterator[Facts]:
    """One per pipeline, as `status` has it, within these spans."""
    known, stale = nights(ledger, spans), _stale(home, ledger, spans)
    validated = {(row["pipeline"], row["partition"]) for row in ledger.published_within(spans, [_VALIDATED])}
    decided = _by_pipeline(ledger.decisions_within(spans, ["gate", SHADOW, APPROVAL]))
    trained = _by_pipeline(ledger.attempts_within(spans, RETRAIN_STEPS))
    for name in spans:
        mine = list(reversed(decided.get(name, [])))
        gates = [_decision(row) for row in mine if row["kind"] == "gate"]
        if not gates and is_newest:
            gates = [_decision(row) for row in ledger.newest_decisions(name, ["gate"], 1)]
        yield {
            "pipeline": name,
            "partitions": [
                row
                | {"is_stale": row["partition"] in stale.get(name, set())}
                | {"links": _links(name, row, (name, row["partition"]) in validated)}
                for row in known[name]
            ],
            "gates": gates,
            "shadow": shadow_state(ledger, name) if is_newest else None,
            "shadows": [_decision(row) for row in mine if row["kind"] == SHADOW],
            "champions": [_champion(row) for row in ledger.champions(name) if is_newest or _is_known(row, night)],
            "retrains": retrains(trained.get(name, [])),
            "waiting": _waiting(mine),
        }


def entry(one: Mapping[str, Any]) -> Facts:
    """One pipeline of the report, from its state (as `pipelines.report.status` has it)."""
    champion = one["champions"][-1] if one["champions"] else None
    state: Facts = {**one, "champion": champion}
    first = one["partitions"][:MOST_PARTITIONS]
    shown = [{name: row[name] for name in _KEPT} for row in first]
    recent = {**state, "partitions": first}
    return {
        "pipeline": one["pipeline"],
        "newest": shown[0] if shown else None,
        "champion": champion,
        "needs": needs(_asked(recent)),
        "notes": notes(recent),
        "story": _recent_story(state, first),
        "gate": _short(one["gates"][0]) if one["gates"] else None,
        "quality": _quality(one["partitions"]),
        "partitions": shown,
    }


def _links(name: str, row: Mapping[str, Any], is_validated: bool) -> list[list[str]]:
    """[text, address below the reports] of what was written about a partition, as the ledger knows it."""
    drift = str(row["drift_numbers"].get("report") or "").removeprefix("reports/")
    checks = [["checks", f"{name}/data_docs/{row['partition']}.html"]] if is_validated else []
    return checks + ([["drift report", drift]] if drift else [])


def _recent_story(state: Facts, shown: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """What happened on the partitions that are shown."""
    oldest = shown[-1]["partition"] if shown else ""
    told = [event for event in story({**state, "partitions": shown}) if event["date"] >= oldest[: len(event["date"])]]
    return without_repeats(told)


def _asked(state: Facts) -> Facts:
    """What `needs` looks at. Nights that never came are the deadline alert's, since no ledger holds them."""
    return {
        "pipeline": state["pipeline"],
        "nights": state["partitions"],
        "missing": [],
        "stale": sorted(row["partition"] for row in state["partitions"] if row["is_stale"]),
        "waiting": state["waiting"],
        "retrain": state["retrains"][0] if state["retrains"] else None,
        "champion": state["champion"]["version"] if state["champion"] else None,
        "problem": "",
    }


def _quality(partitions: Sequence[Mapping[str, Any]]) -> Facts | None:
    """As `trend.quality`, over the nights that were scored, with the versions that began; None below two values."""
    scored = [row for row in partitions if row["model"]]
    found = quality(scored)
    if found is None or sum(value is not None for value in found["values"]) < 2:
        return None
    return found | {"changes": champion_changes(scored)}


def _short(gate: Mapping[str, Any]) -> Facts:
    """A gate decision with its checks' words, without their numbers."""
    checks = gate["numbers"].get("checks", [])
    kept = [{name: check[name] for name in ("name", "passed", "text")} for check in checks]
    return {name: gate[name] for name in ("partition", "outcome", "version", "reasons")} | {"checks": kept}


def _champion(row: Row) -> Facts:
    return {
        "version": row["version"],
        "since": row["effective_from"].isoformat(),
        "action": row["action"],
        "reason": row["reason"],
        "actor": row["actor"],
        "decided_at": row["decided_at"].isoformat(),
    }


def _waiting(decisions: Sequence[Row]) -> Row | None:
    """The newest question about a promotion, if nobody answered it; newest decision first."""
    newest = next((row for row in decisions if row["kind"] == APPROVAL), None)
    return newest if newest and newest["outcome"] == WAITING else None


def _is_known(row: Row, night: str) -> bool:
    """Whether the champion was there on a past night, or came from it."""
    following = (date.fromisoformat(night) + timedelta(days=1)).isoformat()
    return bool(row["effective_from"].isoformat()[:10] <= following)


def _decision(row: Row) -> Facts:
    return {
        "partition": row["partition"],
        "outcome": row["outcome"],
        "version": row["model_version"],
        "reasons": list(row["reasons"]),
        "numbers": dict(row["numbers"]),
        "decided_at": row["decided_at"].isoformat(),
    }


def _by_pipeline(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """In the order in which they were written."""
    found: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda one: one["id"]):
        found.setdefault(row["pipeline"], []).append(row)
    return found


def _stale(home: Home, ledger: Ledger, spans: Spans) -> dict[str, set[str]]:
    from pipelines.history import stale_partitions
    from pipelines.settings import pipeline_names

    configured = set(pipeline_names(home.config))
    return stale_partitions(ledger, {name: span for name, span in spans.items() if name in configured})
