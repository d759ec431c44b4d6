"""Among how many tests a year the budget of false promotions is shared: those that are planned, or more if there were.

Testing every night is testing many times: at a fixed confidence of 95 % a year of nights promotes eighteen lucky
models. The budget is shared evenly, so that its sum over a year is what the settings say (Bonferroni; expectations
add up whatever binds the nights). Online procedures such as LORD (Javanmard & Montanari 2018) win back budget with
every discovery, but need independent p-values for their guarantee, and holdouts of neighbouring nights share most rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice

from pipelines.context import Context
from pipelines.ledger import Row
from pipelines.partitions import Grain
from pipelines.settings.pipeline import Pipeline

_YEAR = timedelta(days=365)
_PARTITIONS_PER_YEAR: dict[Grain, float] = {"hour": 8760, "day": 365, "week": 52, "month": 12}
# A leap year, so that a schedule for 29 February fires.
_FROM = datetime(2024, 1, 1, tzinfo=UTC)
_MOST_COUNTED = 10_000


def tests_per_year(context: Context) -> float:
    """Planned tests, or the gate's decisions of the year up to this partition with this one, if those are more.

    More retrains than were planned (by hand, say) lower the level of each further one; the expected number of false
    promotions is then above the budget by at most the factor 1 + ln(decisions / planned).
    """
    earlier = decided_before(context, context.ledger.decisions(context.name, "gate"))
    return max(planned(context.pipeline), earlier + 1.0)


def planned(pipeline: Pipeline) -> float:
    """Firings of the retrain schedule in a year, and as many retrains by drift as its cooldown lets through."""
    by_drift = _PARTITIONS_PER_YEAR[pipeline.partition] / (pipeline.monitor.cooldown_partitions + 1)
    return by_drift + (firings(pipeline.retrain.schedule) if pipeline.retrain.schedule else 0.0)


@lru_cache(maxsize=64)
def firings(cron: str) -> float:
    """How often a cron expression fires in a year; beyond ten thousand times, by the time that these take."""
    from croniter import croniter

    moments = croniter(cron, _FROM, ret_type=datetime)
    found = list(islice((one for one in _until(moments, _FROM + _YEAR)), _MOST_COUNTED))
    if len(found) < _MOST_COUNTED:
        return float(len(found))
    return _MOST_COUNTED * _YEAR / (found[-1] - _FROM)


def _until(moments: Iterable[datetime], end: datetime) -> Iterable[datetime]:
    for one in moments:
        if one > end:
            return
        yield one


def decided_before(context: Context, decisions: Iterable[Row]) -> int:
    """Decisions of other runs, for partitions of the year that ends with this one: nothing later counts."""
    end = context.partition.start
    starts = {row["partition"]: context.pipeline.parse(str(row["partition"])).start for row in decisions}
    return sum(row["run_id"] != context.run_id and end - _YEAR < starts[row["partition"]] <= end for row in decisions)
