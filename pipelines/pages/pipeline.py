"""One pipeline: its calendar, rows, quality, drift, decisions, releases, champions and versions, a period at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pipelines.errors import ConfigError
from pipelines.home import Home
from pipelines.ledger import Ledger
from pipelines.pages import calendar_grid
from pipelines.pages.calendar_grid import Period
from pipelines.pages.decided import decided
from pipelines.pages.drift_map import drift_map
from pipelines.pages.known import ledger_of, settings_of
from pipelines.pages.offers import Notice, Offer
from pipelines.pages.overview import overview
from pipelines.pages.rendering import render
from pipelines.partitions import Partition
from pipelines.report import plots
from pipelines.report.lateness import missing, newest_due
from pipelines.report.nights import COUNTS, DAILY_STEPS, nights
from pipelines.report.status import RETRAIN_STEPS, pipelines_known, retrains
from pipelines.report.trend import champion_changes, quality
from pipelines.settings.loader import require_pipeline
from pipelines.settings.pipeline import Pipeline
from pipelines.shadows import shadow_state

_RETRAINS, _VERSIONS, _CHAMPIONS = 10, 20, 20
_KINDS = ("clean", "quarantined", "duplicate")


def page(
    home: Home,
    name: str,
    until: str | None = None,
    kind: str | None = None,
    before: int | None = None,
    upto: int | None = None,
    buttons: Sequence[Offer] = (),
    notice: Notice | None = None,
) -> str:
    """The page with the period that holds the partition `until` (the newest when left out), and the decisions of one
    kind, older than the one with the id `before`.

    Args:
        upto: the newest version that is listed.
        buttons, notice: what may be started, and what was.

    Raises:
        ConfigError: E-RUN-PARTITION for an `until` that names no partition, E-CONFIG-PIPELINE for an unknown pipeline.
    """
    ledger = ledger_of(home)
    if name not in pipelines_known(home, ledger):
        require_pipeline(name, home.config)
    settings, _ = settings_of(home, name)
    now = datetime.now(UTC)
    state = overview(home, ledger, [name], now)[0]
    shown = period_of(ledger, name, settings, until, now)
    facts = of_period(ledger, name, settings, shown, now) if shown else None
    return render(
        "pipeline_page",
        way=[],
        one=state,
        settings=settings,
        shadow=shadow_state(ledger, name),
        period=shown,
        facts=facts,
        chosen={"until": until, "kind": kind, "before": before, "upto": upto},
        decided=decided(ledger, name, kind, before),
        champions=list(reversed(ledger.champions(name)))[:_CHAMPIONS],
        versions=versions(ledger, name, upto),
        signs=calendar_grid.SIGNS,
        words=calendar_grid.WORDS,
        buttons=buttons,
        notice=notice,
        retrains=retrains(ledger.newest_runs(name, RETRAIN_STEPS, _RETRAINS)),
    )


def period_of(ledger: Ledger, name: str, settings: Pipeline | None, until: str | None, now: datetime) -> Period | None:
    """The partitions to show; None where nothing ever ran.

    Raises:
        ConfigError: for an `until` that is no partition.
    """
    newest = next(iter(ledger.partition_keys(name, DAILY_STEPS, newest=1)), None)
    if newest is None:
        return None
    due = newest_due(settings, now) if settings else None
    anchor = _parsed(settings, until or newest)
    latest = max(newest, due.key) if due else newest
    return calendar_grid.period(anchor, ledger.first_partition(name) or newest, latest)


def of_period(ledger: Ledger, name: str, settings: Pipeline | None, period: Period, now: datetime) -> dict[str, Any]:
    """Everything of the page that belongs to one period; drawings as SVG."""
    spans = {name: (period.first, period.last)}
    seen = nights(ledger, spans).get(name, [])
    known = {night["partition"]: night for night in seen}
    late = _late(ledger, name, settings, period, now)
    grid = calendar_grid.blocks(period.partitions, lambda one: _cell(one, known, late))
    return {
        "nights": seen,
        "blocks": [block for block in grid if calendar_grid.says_anything(block)],
        "totals": {kind: sum(night[kind] or 0 for night in seen) for kind in (*COUNTS, "scored")},
        "releases": list(reversed(ledger.releases_within(spans))),
        "drift": drift_map(seen),
        **_drawings(name, seen),
    }


def versions(ledger: Ledger, name: str, upto: int | None) -> dict[str, Any]:
    """One page of model versions, newest first, each with what the gate said; `older`: where the next page begins."""
    found = ledger.versions(name, _VERSIONS + 1, upto)
    rows = found[:_VERSIONS]
    judged = ledger.gate_outcomes(name, rows[-1]["version"], rows[0]["version"]) if rows else {}
    return {
        "rows": [dict(row) | {"outcome": judged.get(row["version"])} for row in rows],
        "older": found[_VERSIONS]["version"] if len(found) > _VERSIONS else None,
    }


def _drawings(name: str, seen: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    keys = [night["partition"] for night in reversed(seen)]
    rows = {kind: [night[kind] for night in reversed(seen)] for kind in _KINDS}
    changes, judged, drift = champion_changes(seen), quality(seen), drift_map(seen)
    words = f"{'Estimated ' if judged and judged['is_estimate'] else ''}{judged['metric'] if judged else ''} of {name}"
    return {
        "changes": changes,
        "quality": judged,
        "rows_drawn": plots.row_bars(f"Rows of {name}", keys, rows, changes=changes) if keys else "",
        "quality_drawn": plots.line(
            words, judged["keys"], judged["values"], estimated=judged["estimated"], changes=changes
        )
        if judged
        else "",
        "drift_drawn": plots.heat_map(f"Drift of {name}", drift["columns"], drift["keys"], drift["values"])
        if drift
        else "",
    }


def _late(ledger: Ledger, name: str, settings: Pipeline | None, period: Period, now: datetime) -> set[str]:
    """Keys of the period that should have come; those before the first partition ever are none."""
    first = ledger.first_partition(name)
    if settings is None or first is None:
        return set()
    known = set(ledger.partition_keys(name, DAILY_STEPS, first=period.first, last=period.last))
    begin = max(first, period.first)
    within = {partition.key for partition in period.partitions}
    return set(missing(settings, known | {begin}, now)) & within


def _cell(partition: Partition, known: Mapping[str, Mapping[str, Any]], late: set[str]) -> dict[str, Any]:
    night = known.get(partition.key)
    state = night["state"] if night else "missing" if partition.key in late else None
    return {
        "key": partition.key,
        "label": calendar_grid.label_of(partition),
        "state": state,
        "sign": calendar_grid.SIGNS.get(state or "", ""),
        "words": calendar_grid.WORDS.get(state or "", state or "nothing yet"),
        "drift": night["drift"] if night and night["drift"] in ("WATCH", "RETRAIN") else None,
    }


def _parsed(settings: Pipeline | None, key: str) -> Partition:
    from pipelines.partitions import parse_partition

    if settings is None:
        return parse_partition(key, calendar_grid.grain_of(key))
    try:
        return settings.parse(key)
    except ConfigError:
        if key[:10] == key and settings.partition != "hour":  # another day of the week or month that is meant
            return parse_partition(key, "day", settings.timezone)
        raise
