"""One model version: how good it is, what the gate said, what made it, what became of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.home import Home
from pipelines.pages import addresses, offers
from pipelines.pages.rendering import render
from pipelines.pages.version_facts import version_facts
from pipelines.report import card_drawings, plots
from pipelines.report.experiments import direction_of

_NORMAL_95 = 1.96


def page(home: Home, name: str, version: int, may_start: offers.MayStart, query: Mapping[str, str]) -> str:
    """Raises ModelError E-MODEL-UNKNOWN for a version that was never registered."""
    one = version_facts(home, name, version)
    card, gate = one["card"], one["gate"]
    numbers = gate["numbers"] if gate else {}
    checks = numbers.get("checks", [])
    return render(
        "version",
        way=[(name, addresses.pipeline(name))],
        one=one,
        checks=checks,
        budget=budget(numbers),
        gains=gains(checks, numbers.get("metric")),
        slices=slices(checks, numbers.get("metric")),
        calibration=card_drawings.calibration(card) if card else "",
        importance=card_drawings.importance(card) if card else "",
        other=next((known for known in one["known"] if known < version), None),
        buttons=offers.of_version(home, name, version, one["champions"], may_start),
        notice=offers.notice(name, query),
    )


def budget(numbers: Mapping[str, Any]) -> str:
    """How often a year the gate may be fooled by chance, as a sentence; empty where it was not recorded."""
    alpha, tests = numbers.get("alpha"), numbers.get("tests_per_year")
    if alpha is None or tests is None:
        return ""
    return (
        f"Each comparison may promote a model that is no better with a probability of {100 * alpha:.3g} %; with "
        f"{tests:.4g} comparisons a year that is {alpha * tests:.2g} false promotions a year at most."
    )


def gains(checks: Sequence[Mapping[str, Any]], metric: str | None) -> str:
    """The differences that the gate measured, with their bounds; empty where it measured none."""
    rows, needed = [], None
    for check in checks:
        found = check.get("numbers") or {}
        point = found.get("gain", found.get("difference"))
        if point is None or found.get("lower") is None:
            continue
        rows.append((_against(check["name"], found), found["lower"], point, found.get("upper")))
        needed = found.get("margin", needed)
    if not rows:
        return ""
    reference, words = (0.0, "no difference") if needed is None else (needed, "must exceed")
    return plots.intervals(f"Gain in {metric or 'the metric'}", rows, reference=reference, reference_name=words)


def slices(checks: Sequence[Mapping[str, Any]], metric: str | None) -> str:
    """The change from champion to challenger per slice, up is better, with 95 % bounds from its standard error."""
    sign = -1 if metric and direction_of(metric) == "lower" else 1
    rows: list[tuple[str, float | None, float | None, float | None]] = []
    allowed = 0.0
    for check in checks:
        found = check.get("numbers") or {}
        if not check["name"].startswith("slice ") or None in (found.get("challenger"), found.get("champion")):
            continue
        change, error = sign * (found["challenger"] - found["champion"]), found.get("standard_error")
        reach = None if error is None else _NORMAL_95 * error
        low, high = (None, None) if reach is None else (change - reach, change + reach)
        rows.append((f"{check['name'].removeprefix('slice ')} ({found['rows']:,})", low, change, high))
        allowed = max(allowed, found.get("allowed_loss") or 0.0)
    title = f"Change in {metric or 'the metric'} by slice"
    return plots.intervals(title, rows, reference=-allowed, reference_name="allowed loss") if rows else ""


def _against(name: str, numbers: Mapping[str, Any]) -> str:
    words = {
        "champion": "over the champion",
        "baseline constant": "over a constant",
        "baseline linear": "over a linear model",
        "delong": "champion, DeLong",
    }
    sure = numbers.get("confidence")
    return words.get(name, name) + (f" ({100 * sure:.4g} %)" if sure is not None else "")
