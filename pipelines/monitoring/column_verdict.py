"""How one column of a partition compares with the champion's reference: a grade, with sentences."""

from __future__ import annotations

import calendar
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pipelines.monitoring.limits import Chances, Floors
from pipelines.monitoring.measures import jensen_shannon, psi, shares
from pipelines.monitoring.reference import WASSERSTEIN_WATCH, ColumnReference, Kin, distance, distribution, present
from pipelines.monitoring.statistics import ColumnStatistics
from pipelines.settings.monitor import Monitor

Grade = Literal["quiet", "watch", "alarm"]
RANK = {"alarm": 0, "watch": 1, "quiet": 2}
# A column matters when it carries at least half of what it would if all columns carried the same.
IMPORTANT_SHARE_OF_EVEN = 0.5
NEW_FLOORS = Floors(0.01, 0.05)  # shares of rows with new categories: what was learnt says nothing about these rows


@dataclass(frozen=True)
class Stake:
    """How much a column matters, and how often its tests may err."""

    importance: float  # share of the model's importance
    weight: float  # that share as a multiple of an even one
    chances: Chances

    @property
    def is_important(self) -> bool:
        return self.weight >= IMPORTANT_SHARE_OF_EVEN


@dataclass(frozen=True)
class ColumnVerdict:
    """One column of one partition against the reference. Shares and distances are exact over all rows."""

    column: str
    grade: Grade
    importance: float
    is_important: bool
    reasons: tuple[str, ...] = ()
    measures: Mapping[str, float] = field(default_factory=dict)


def graded(value: float, watch: float, retrain: float) -> Grade:
    return "alarm" if value > retrain else "watch" if value > watch else "quiet"


def judge_column(
    name: str,
    reference: ColumnReference,
    current: ColumnStatistics,
    stake: Stake,
    settings: Monitor,
    weekday: int | None = None,
    who: str = "",
    measured: str = "",
) -> ColumnVerdict:
    """The grade of one column, with sentences; `who` names it in them (default: the name and its importance).

    `measured`: what of it the numbers are, e.g. "the length of ", where they are not its own values.
    """
    kin = reference.kin(weekday)
    measures = measure(reference, kin, current, stake, settings)
    if not reference.is_judged:
        return ColumnVerdict(name, "quiet", stake.importance, stake.is_important, (), measures)
    who = who or f"{measured}'{name}' ({stake.importance:.0%} of the model's importance)"
    found = _dead(who, reference, kin, current, stake.chances.alarm) or _shifts(who, kin, current, measures, weekday)
    worst: Grade = found[0][0] if found else "quiet"
    grade: Grade = worst if stake.is_important or worst == "quiet" else "watch"
    reasons = tuple(reason for _, reason in found)
    return ColumnVerdict(name, grade, stake.importance, stake.is_important, reasons, measures)


def measure(
    reference: ColumnReference, kin: Kin, current: ColumnStatistics, stake: Stake, settings: Monitor
) -> dict[str, float]:
    """Every number about this column that is recorded, with the limits that held for it."""
    floors = Floors(settings.psi_watch, settings.psi_retrain).weighted(stake.weight)
    values = reference.psi_limits(kin, current.values, floors, stake.chances)
    nulls = reference.null_limits(kin, current.rows, floors, stake.chances)
    is_number, total = reference.bins.kind == "number", kin.total
    counts = distribution(total, reference.bins), distribution(current, reference.bins)
    far = distance(total, current, reference.bins)
    news = NEW_FLOORS.weighted(stake.weight)
    return {
        "psi": psi(*counts),
        "psi_watch": values.watch,
        "psi_retrain": values.retrain,
        "jensen_shannon": jensen_shannon(*counts),
        "wasserstein": far,
        "wasserstein_watch": _far_limit(reference, kin, current, stake, far) if is_number else 0.0,
        "null_share": current.null_share,
        "null_share_reference": total.null_share,
        "null_psi": psi(present(total), present(current)),
        "null_psi_watch": nulls.watch,
        "null_psi_retrain": nulls.retrain,
        "new_share": 0.0 if is_number or not current.rows else current.counts[-1] / current.rows,
        "new_watch": reference.new_limit(kin, news.watch, stake.chances.watch),
        "new_retrain": reference.new_limit(kin, news.retrain, stake.chances.alarm),
    }


def _far_limit(reference: ColumnReference, kin: Kin, current: ColumnStatistics, stake: Stake, distance: float) -> float:
    """The watch limit of the Wasserstein distance; only its floor where that is not reached, for it is costly.

    With the chance of an alarm: distances are skewed, and a normal bound is exceeded more often than it says.
    """
    if distance <= WASSERSTEIN_WATCH:
        return WASSERSTEIN_WATCH
    return reference.wasserstein_limit(kin, current.values, stake.chances.alarm)


def _dead(
    who: str, reference: ColumnReference, kin: Kin, current: ColumnStatistics, chance: float
) -> list[tuple[Grade, str]]:
    """A column that says nothing about any row, where it usually does and chance does not explain it: a flag that one
    row in a hundred has is missing from some small partitions."""
    if not current.is_dead or not reference.usually_alive(kin):
        return []
    if not current.values:
        by_chance = kin.total.null_share**current.rows
    else:
        by_chance = float(shares(kin.total.counts).max()) ** current.values
    if by_chance > chance:
        return []
    what = "is null in every row" if not current.values else "holds one value in every row"
    return [("alarm", f"DEAD_COLUMN {who} {what}, in the reference it varied.")]


def _shifts(
    who: str,
    kin: Kin,
    current: ColumnStatistics,
    measures: Mapping[str, float],
    weekday: int | None,
) -> list[tuple[Grade, str]]:
    """What moved beyond a limit, worst first, as sentences."""
    found: list[tuple[Grade, str]] = []
    against = f" against earlier {calendar.day_name[weekday]}s" if kin.is_of_weekday and weekday is not None else ""
    grade = graded(measures["psi"], measures["psi_watch"], measures["psi_retrain"])
    if grade != "quiet" and kin.total.values and current.values:
        limit = measures["psi_retrain" if grade == "alarm" else "psi_watch"]
        detail = _means(kin.total, current)
        found.append((grade, f"SHIFT {who} shifted{against}: PSI {measures['psi']:.2f}, limit {limit:.2f}{detail}."))
    grade = graded(measures["new_share"], measures["new_watch"], measures["new_retrain"])
    if grade != "quiet":
        limit = measures["new_retrain" if grade == "alarm" else "new_watch"]
        share = f"{measures['new_share']:.1%} of rows hold categories that the reference never held, limit {limit:.1%}"
        found.append((grade, f"NEW_CATEGORIES {who}: {share}."))
    grade = graded(measures["null_psi"], measures["null_psi_watch"], measures["null_psi_retrain"])
    if grade != "quiet":
        change = f"{measures['null_share_reference']:.1%} -> {measures['null_share']:.1%}"
        found.append((grade, f"NULLS {who}: missing values{against} {change}."))
    if not found and measures["wasserstein"] > measures["wasserstein_watch"] > 0:
        how_far = f"{measures['wasserstein']:.2f} standard deviations, limit {measures['wasserstein_watch']:.2f}"
        found.append(("watch", f"SHIFT {who} moved{against} by {how_far}."))
    return sorted(found, key=lambda one: RANK[one[0]])


def _means(total: ColumnStatistics, current: ColumnStatistics) -> str:
    if total.mean is None or current.mean is None:
        return ""
    return f"; mean {total.mean:.4g} -> {current.mean:.4g}"
