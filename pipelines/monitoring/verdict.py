"""How one partition compares with the champion's reference: a grade per column, and one for the partition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pipelines.monitoring.measures import jensen_shannon, psi
from pipelines.monitoring.reference import ColumnReference, Reference, distance, present
from pipelines.monitoring.statistics import ColumnStatistics, Profile
from pipelines.settings.pipeline import Monitor

Grade = Literal["quiet", "watch", "alarm"]
_RANK = {"alarm": 0, "watch": 1, "quiet": 2}
# A column matters when it carries at least half of what it would if all columns carried the same.
IMPORTANT_SHARE_OF_EVEN = 0.5
VOLUME_FACTOR = 2.0  # beyond the reference partitions' own smallest and largest row counts


@dataclass(frozen=True)
class ColumnVerdict:
    """One column of one partition against the reference. Shares and distances are exact over all rows."""

    column: str
    grade: Grade
    importance: float
    is_important: bool
    reasons: tuple[str, ...] = ()
    measures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class PartitionVerdict:
    grade: Grade
    reasons: tuple[str, ...]
    columns: tuple[ColumnVerdict, ...]
    volume_ratio: float | None = None


def importance_shares(importance: Mapping[str, float], columns: Sequence[str]) -> dict[str, float]:
    """Importance per column as shares that sum to 1; all alike when the model recorded none."""
    known = {name: max(0.0, float(importance.get(name, 0.0))) for name in columns}
    total = sum(known.values())
    return {name: value / total if total else 1 / len(known) for name, value in known.items()}


def judge_partition(
    reference: Reference, current: Profile, rows: int, importance: Mapping[str, float], settings: Monitor
) -> PartitionVerdict:
    """The verdict of one partition. Reasons: the worst first, within a grade the most important column first.

    A shifted or dead column raises an alarm when it matters to the champion and is only watched otherwise.
    """
    shares = importance_shares(importance, list(reference.columns))
    even = IMPORTANT_SHARE_OF_EVEN / max(1, len(shares))
    columns = [
        judge_column(name, column, current[name], shares[name], shares[name] >= even, settings)
        for name, column in reference.columns.items()
        if name in current
    ]
    columns.sort(key=lambda one: (_RANK[one.grade], -one.importance, one.column))
    ratio, volume = _volume(reference, rows)
    reasons = [reason for one in columns for reason in one.reasons if one.grade == "alarm"]
    reasons += volume + [reason for one in columns for reason in one.reasons if one.grade == "watch"]
    worst: Grade = columns[0].grade if columns else "quiet"
    grade: Grade = "watch" if worst == "quiet" and volume else worst
    return PartitionVerdict(grade, tuple(reasons), tuple(columns), ratio)


def judge_column(
    name: str,
    reference: ColumnReference,
    current: ColumnStatistics,
    importance: float,
    is_important: bool,
    settings: Monitor,
    who: str = "",
) -> ColumnVerdict:
    """The grade of one column, with sentences; `who` names it in them (default: the name and its importance)."""
    total = reference.total
    measures = measure(reference, total, current, settings)
    if not reference.is_judged:
        return ColumnVerdict(name, "quiet", importance, is_important, (), measures)
    who = who or f"'{name}' ({importance:.0%} of the model's importance)"
    if current.is_dead and reference.usually_alive:
        what = "is null in every row" if not current.values else "holds one value in every row"
        reasons = (f"DEAD_COLUMN {who} {what}, in the reference it varied.",)
        return ColumnVerdict(name, "alarm" if is_important else "watch", importance, is_important, reasons, measures)
    found = _shifts(who, reference, total, current, measures)
    worst: Grade = found[0][0] if found else "quiet"
    grade: Grade = worst if is_important or worst == "quiet" else "watch"
    return ColumnVerdict(name, grade, importance, is_important, tuple(reason for _, reason in found), measures)


def measure(
    reference: ColumnReference, total: ColumnStatistics, current: ColumnStatistics, settings: Monitor
) -> dict[str, float]:
    """Every number about this column that is recorded, with the limits that held for it."""
    values = reference.psi_limits(current.values, settings.psi_watch, settings.psi_retrain)
    nulls = reference.null_limits(current.rows, settings.psi_watch, settings.psi_retrain)
    is_number = reference.bins.kind == "number"
    return {
        "psi": psi(total.counts, current.counts),
        "psi_watch": values.watch,
        "psi_retrain": values.retrain,
        "jensen_shannon": jensen_shannon(total.counts, current.counts),
        "wasserstein": distance(total, current, reference.bins) if is_number else 0.0,
        "wasserstein_watch": reference.wasserstein_limit(current.values) if is_number else 0.0,
        "null_share": current.null_share,
        "null_share_reference": total.null_share,
        "null_psi": psi(present(total), present(current)),
        "null_psi_watch": nulls.watch,
        "null_psi_retrain": nulls.retrain,
        "new_share": 0.0 if is_number or not current.rows else current.counts[-1] / current.rows,
    }


def _shifts(
    who: str,
    reference: ColumnReference,
    total: ColumnStatistics,
    current: ColumnStatistics,
    measures: Mapping[str, float],
) -> list[tuple[Grade, str]]:
    """What moved beyond a limit, worst first, as sentences."""
    found: list[tuple[Grade, str]] = []
    grade = _grade(measures["psi"], measures["psi_watch"], measures["psi_retrain"])
    if grade != "quiet" and total.values and current.values:
        limit = measures["psi_retrain" if grade == "alarm" else "psi_watch"]
        detail = _detail(reference, total, current, measures)
        found.append((grade, f"SHIFT {who} shifted: PSI {measures['psi']:.2f}, limit {limit:.2f}{detail}."))
    grade = _grade(measures["null_psi"], measures["null_psi_watch"], measures["null_psi_retrain"])
    if grade != "quiet":
        change = f"{measures['null_share_reference']:.1%} -> {measures['null_share']:.1%}"
        found.append((grade, f"NULLS {who}: missing values {change}."))
    if not found and measures["wasserstein"] > measures["wasserstein_watch"] > 0:
        how_far = f"{measures['wasserstein']:.2f} standard deviations, limit {measures['wasserstein_watch']:.2f}"
        found.append(("watch", f"SHIFT {who} moved by {how_far}."))
    return sorted(found, key=lambda one: _RANK[one[0]])


def _detail(
    reference: ColumnReference, total: ColumnStatistics, current: ColumnStatistics, measures: Mapping[str, float]
) -> str:
    if reference.bins.kind == "category":
        return f"; {measures['new_share']:.1%} of rows hold new categories" if measures["new_share"] else ""
    if total.mean is None or current.mean is None:
        return ""
    return f"; mean {total.mean:.4g} -> {current.mean:.4g}"


def _grade(value: float, watch: float, retrain: float) -> Grade:
    return "alarm" if value > retrain else "watch" if value > watch else "quiet"


def _volume(reference: Reference, rows: int) -> tuple[float | None, list[str]]:
    """Rows against the median reference partition, and a sentence when far outside of what those showed."""
    counts = sorted(reference.rows.values())
    if not counts or not counts[len(counts) // 2]:
        return None, []
    median = counts[len(counts) // 2]
    if counts[0] / VOLUME_FACTOR <= rows <= counts[-1] * VOLUME_FACTOR:
        return rows / median, []
    return rows / median, [
        f"VOLUME {rows:,} rows; the reference partitions had {counts[0]:,} to {counts[-1]:,} (median {median:,})."
    ]
