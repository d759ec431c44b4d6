"""The first page in the morning: what every pipeline did last night, and what somebody should do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pipelines import approvals
from pipelines.history import stale_partitions
from pipelines.home import Home
from pipelines.ledger import Ledger, Row
from pipelines.pages.known import ledger_of, settings_of
from pipelines.pages.rendering import render
from pipelines.report import drawing, plots
from pipelines.report.lateness import missing
from pipelines.report.needs import needs
from pipelines.report.nights import newest_spans, nights
from pipelines.report.status import RETRAIN_STEPS, pipelines_known
from pipelines.report.trend import quality
from pipelines.settings import pipeline_names
from pipelines.settings.pipeline import Pipeline

NIGHTS = 8  # partitions that the overview looks back: the last one and a week before it
HOURS = 48  # the same of a pipeline whose partitions are hours
_MOST_NAMED = 3


def page(home: Home, is_readable: Callable[[str], bool]) -> str:
    names = [name for name in pipelines_known(home, ledger_of(home)) if is_readable(name)]
    found = overview(home, ledger_of(home), names, datetime.now(UTC))
    return render("overview", way=[], pipelines=found, sentence=sentence(found))


def load(home: Home) -> None:
    """What the first page would wait for: imports, the template, the settings of all pipelines."""
    drawing.load()
    render("overview", way=[], pipelines=[], sentence="")
    for name in pipeline_names(home.config):
        settings_of(home, name)


def overview(home: Home, ledger: Ledger, names: Sequence[str], now: datetime) -> list[dict[str, Any]]:
    """One entry per pipeline, those that need something first: `pipeline`, `last` (its newest night or None),
    `champion`, `age_days`, `quality`, `sparkline`, `drift` (the newest night that the monitor saw), `needs`."""
    settings = {name: settings_of(home, name) for name in names}
    spans = _spans(ledger, {name: known for name, (known, _) in settings.items()})
    seen, stale = nights(ledger, spans, "quality"), stale_partitions(ledger, spans)
    champions, asked = ledger.newest_champions(names), _newest(ledger.decisions_within(spans, [approvals.KIND]))
    runs = {row["pipeline"]: row for row in ledger.newest_attempts_within(spans, RETRAIN_STEPS)}
    found = []
    for name in names:
        own, problem = settings[name]
        mine = seen.get(name, [])
        known = {night["partition"] for night in mine}
        facts = {
            "pipeline": name,
            "nights": mine,
            "missing": missing(own, known, now) if own else [],
            "stale": sorted(stale.get(name, ())) if own else [],
            "waiting": open_question(asked.get(name), now),
            "retrain": runs.get(name),
            "champion": champions[name]["version"] if name in champions else None,
            "problem": problem,
        }
        found.append(_entry(facts, champions.get(name), now))
    return sorted(found, key=lambda one: (not one["needs"], one["pipeline"]))


def _spans(ledger: Ledger, settings: Mapping[str, Pipeline | None]) -> dict[str, tuple[str, str]]:
    hourly = [name for name, known in settings.items() if known and known.partition == "hour"]
    others = [name for name in settings if name not in set(hourly)]
    return newest_spans(ledger, hourly, HOURS) | newest_spans(ledger, others, NIGHTS)


def sentence(found: Sequence[Mapping[str, Any]]) -> str:
    """All of it in one sentence: how many pipelines are fine, and what the others need."""
    troubled = [one for one in found if one["needs"]]
    idle = sum(not one["needs"] and one["last"] is None for one in found)
    fine, running = len(found) - len(troubled) - idle, len(found) - idle
    told = [f"{one['pipeline']} {one['needs'][0]['short']}" for one in troubled[:_MOST_NAMED]]
    more = len(troubled) - len(told)
    told += [f"{more} more need something"] if more else []
    told += [f"{idle} {'has' if idle == 1 else 'have'} not run yet"] if idle else []
    if not found:
        return "There is no pipeline yet that you may read."
    head = [f"{fine} of {running} pipelines {'is' if fine == 1 else 'are'} fine"] if troubled and running > 1 else []
    if running and not troubled:
        head = [f"All {running} pipelines are fine" if running > 1 else "The pipeline is fine"]
    return f"{'; '.join([*head, *told])}."


def open_question(asked: Row | None, now: datetime) -> Row | None:
    """The question about a promotion that somebody can still answer."""
    if asked is None or asked["outcome"] != approvals.WAITING:
        return None
    return asked if datetime.fromisoformat(asked["numbers"]["until"]) > now else None


def _entry(facts: Mapping[str, Any], champion: Row | None, now: datetime) -> dict[str, Any]:
    name, mine = facts["pipeline"], facts["nights"]
    judged = quality(mine)
    return {
        "pipeline": name,
        "last": mine[0] if mine else None,
        "champion": champion,
        "age_days": max(0, (now - champion["effective_from"]).days) if champion else None,
        "quality": judged,
        "sparkline": plots.sparkline(f"{judged['metric']} of {name}", judged["values"]) if judged else "",
        "drift": next((night for night in mine if night["drift"]), None),
        "needs": needs(facts),
    }


def _newest(rows: Sequence[Row]) -> dict[str, Row]:
    """The decision that fell last, by pipeline."""
    return {row["pipeline"]: row for row in sorted(rows, key=lambda row: row["id"])}
