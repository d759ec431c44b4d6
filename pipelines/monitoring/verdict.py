"""How one partition compares with the champion's reference: a grade per column, and one for the partition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipelines.monitoring.column_verdict import RANK, ColumnVerdict, Grade, Stake, graded, judge_column
from pipelines.monitoring.limits import Chances
from pipelines.monitoring.measures import psi_mean, usual_bound
from pipelines.monitoring.reference import Reference
from pipelines.monitoring.statistics import Profile
from pipelines.settings.monitor import Monitor

VOLUME_FACTOR = 2.0  # beyond the reference partitions' own smallest and largest row counts
JOINT_SHARE = 0.5  # of the floors of one column: the columns together moved that far on average
_FEWEST_JOINT = 5.0  # with fewer columns that matter, one is the mean
_TESTS_PER_COLUMN = 3  # values, nulls, new categories


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
    reference: Reference,
    current: Profile,
    rows: int,
    importance: Mapping[str, float],
    settings: Monitor,
    weekday: int | None = None,
    measured: Mapping[str, str] | None = None,
) -> PartitionVerdict:
    """The verdict of one partition. Reasons: the worst first, within a grade the most important column first.

    A shifted or dead column raises an alarm when it matters to the champion and is only watched otherwise. `weekday`
    (Monday 0) chooses what columns with a weekday profile are compared with. `measured`: see `judge_column`, by column.
    """
    held = [name for name in reference.columns if name in current]
    shares_of = importance_shares(importance, list(reference.columns))
    chances = Chances.shared(settings.false_alarm_rate, _TESTS_PER_COLUMN * len(held) + 1)
    columns = [
        judge_column(
            name,
            reference.columns[name],
            current[name],
            Stake(shares_of[name], shares_of[name] * len(shares_of), chances),
            settings,
            weekday,
            measured=(measured or {}).get(name, ""),
        )
        for name in held
    ]
    columns.sort(key=lambda one: (RANK[one.grade], -one.importance, one.column))
    ratio, volume = _volume(reference, rows)
    joint = _together(reference, current, columns, settings, chances, weekday)
    found = [(one.grade, reason) for one in columns for reason in one.reasons]
    found = [*found, *joint, *(("watch", reason) for reason in volume)]
    found.sort(key=lambda one: RANK[one[0]])
    grade: Grade = found[0][0] if found else "quiet"
    return PartitionVerdict(grade, tuple(reason for _, reason in found), tuple(columns), ratio)


def with_alarms(verdict: PartitionVerdict, reasons: Sequence[str]) -> PartitionVerdict:
    """The verdict with alarms that no count of a column shows, named first."""
    if not reasons:
        return verdict
    return replace(verdict, grade="alarm", reasons=(*reasons, *verdict.reasons))


def _together(
    reference: Reference,
    current: Profile,
    columns: Sequence[ColumnVerdict],
    settings: Monitor,
    chances: Chances,
    weekday: int | None,
) -> list[tuple[Grade, str]]:
    """Whether the columns together moved although none did so for certain: PSI beyond chance, weighted by importance.

    Its limit comes from the same mean of each reference partition, so columns that move together are in it.
    """
    told = [one for one in columns if reference.columns[one.column].is_judged]
    weights = np.array([one.importance for one in told])
    if not told or weights.sum() ** 2 < _FEWEST_JOINT * (weights**2).sum():
        return []
    kin = [reference.columns[one.column].kin(weekday) for one in told]
    past = (weights @ np.nan_to_num(np.stack([one.excess for one in kin]))).tolist()
    beyond = [
        one.measures["psi"] - psi_mean(own.total.values, current[one.column].values, own.bin_count)
        for one, own in zip(told, kin, strict=True)
    ]
    mean = float(weights @ np.array(beyond))
    floors = (settings.psi_watch * JOINT_SHARE, settings.psi_retrain * JOINT_SHARE)
    limits = [
        max(floor, usual_bound(past, chance))
        for floor, chance in zip(floors, (chances.watch, chances.alarm), strict=True)
    ]
    grade = graded(mean, min(limits), limits[1])
    if grade == "quiet":
        return []
    limit = limits[1] if grade == "alarm" else min(limits)
    return [(grade, f"JOINT_SHIFT the columns moved together: mean PSI by importance {mean:.3f}, limit {limit:.3f}.")]


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
