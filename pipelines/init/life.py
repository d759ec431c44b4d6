"""When a pipeline's partitions begin and end, how long they are, and which of them a first model learns from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from statistics import median

from pipelines.init.infer import Declared
from pipelines.init.roles import Target, source_sql
from pipelines.init.rows import Rows
from pipelines.init.samples import Sample
from pipelines.partitions import KEY_FORMAT, Grain, parse_partition, partitions_between
from pipelines.training.policy import POLICIES

_HOLDOUT_ROWS, _HOLDOUT_RARE = 300, 20  # half again what the default policy asks for; rows of the rarest class
_TRAIN_ROWS = 600  # three times `training.min_rows`
_FEWEST_ROWS_A_DAY = 12
_ROWS_AN_HOUR = 200
_SHORT_DAYS = 7
_WINDOW = 60
_SCORED = 2  # partitions that the proposed run scores with the first model
_USUAL = 14


@dataclass(frozen=True)
class Life:
    """`counts`: rows with a label of each partition that has rows, oldest first (rows, where there is no label)."""

    grain: Grain
    counts: tuple[tuple[str, int, int], ...]  # key, rows, labelled rows
    why: str

    @property
    def keys(self) -> list[str]:
        return [key for key, _, _ in self.counts]

    @property
    def start(self) -> date:
        return datetime.strptime(self.keys[0], KEY_FORMAT[self.grain]).date()

    @property
    def end(self) -> date:
        return datetime.strptime(self.keys[-1], KEY_FORMAT[self.grain]).date()

    @property
    def absent(self) -> list[str]:
        """Partitions between the first and the last without a row."""
        first, last = (parse_partition(key, self.grain) for key in (self.keys[0], self.keys[-1]))
        return sorted({one.key for one in partitions_between(first, last)} - set(self.keys))

    @property
    def usual_rows(self) -> float:
        return median(rows for _, rows, _ in self.counts)

    @property
    def usual_labels(self) -> float:
        return median(labels for _, _, labels in self.counts)


def life_by_time(rows: Rows, time: Declared, label: Declared | None, grain: Grain | None) -> Life:
    """By the time of each row. The grain, unless given: days, hours for a short and busy feed, weeks or months for one
    with hardly any rows a day."""
    by_day = _counts(rows, source_sql(time, rows), label, "day", "%Y-%m-%d")
    if grain is None:
        grain = _grain(by_day, rows, time)
    counts = by_day if grain == "day" else _counts(rows, source_sql(time, rows), label, grain, KEY_FORMAT[grain])
    return Life(grain, counts, f"{len(counts)} {grain}s have rows, {_median(counts):,.0f} in the median")


def _median(counts: Sequence[tuple[str, int, int]]) -> float:
    return median(rows for _, rows, _ in counts)


def _counts(rows: Rows, time: str, label: Declared | None, grain: str, form: str) -> tuple[tuple[str, int, int], ...]:
    labelled = f"count({source_sql(label, rows)})" if label else "count(*)"
    query = f"SELECT strftime(date_trunc('{grain}', {time}), '{form}') AS key, count(*), {labelled} FROM cells"
    return tuple(rows.all(f"{query} WHERE {time} IS NOT NULL GROUP BY 1 ORDER BY 1"))


def _grain(by_day: Sequence[tuple[str, int, int]], rows: Rows, time: Declared) -> Grain:
    first, last = (date.fromisoformat(by_day[place][0]) for place in (0, -1))
    days = (last - first).days + 1
    if days <= _SHORT_DAYS and time.type == "timestamp" and rows.count / (24 * days) >= _ROWS_AN_HOUR:
        return "hour"
    if _median(by_day) >= _FEWEST_ROWS_A_DAY or days < 3 * _USUAL:
        return "day"
    return "week" if rows.count / (days / 7) >= _FEWEST_ROWS_A_DAY or days < 365 else "month"


def life_by_names(rows: Rows, sample: Sample, label: Declared | None) -> Life:
    """By the dates in the names of the files."""
    labelled = f"count({source_sql(label, rows)})" if label else "count(*)"
    found = {
        number: (count, known)
        for number, count, known in rows.all(f"SELECT file, count(*), {labelled} FROM cells GROUP BY 1")
    }
    keys = sorted((key, number) for number, key in enumerate(sample.keys))
    counts = tuple((key, *found[number]) for key, number in keys if number in found)
    return Life(sample.grain, counts, f"one file per {sample.grain}, {_median(counts):,.0f} rows in the median")


def life_dealt(rows: Rows, parts: int, today: date) -> Life:
    """`parts` days that end yesterday, with as many rows each."""
    days = [today - timedelta(days=back) for back in range(parts, 0, -1)]
    each = rows.count // parts
    counts = tuple((day.isoformat(), each, each) for day in days)
    return Life("day", counts, f"{rows.count:,} rows dealt over {parts} days, about {each:,} each")


def outside_share(rows: Rows, sample: Sample, time: Declared) -> float:
    """Share of the rows whose time does not lie in the partition that their file is named after."""
    spans = [parse_partition(key, sample.grain) for key in sample.keys]
    values = ", ".join(
        f"({number}, TIMESTAMP '{_naive(one.start)}', TIMESTAMP '{_naive(one.end)}')"
        for number, one in enumerate(spans)
    )
    value = source_sql(time, rows)
    query = (
        f"SELECT avg(CAST(NOT coalesce({value} >= spans.lower AND {value} < spans.upper, false) AS INTEGER)) "
        f"FROM cells JOIN (VALUES {values}) AS spans(number, lower, upper) ON cells.file = spans.number"
    )
    return float(rows.one(query)[0] or 0.0)


def _naive(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


@dataclass(frozen=True)
class Windows:
    """How many partitions are learnt from and held out, after how many the first model is asked for, and why."""

    window: int
    holdout: int
    first_after: int
    policy: str
    why: str


def windows_of(life: Life, target: Target) -> Windows:
    """Enough rows in the holdout for the gate to judge and enough before it to learn from, if the sample has them.

    At least one partition is left to be scored by the first model.
    """
    partitions, each = len(life.counts), max(1.0, life.usual_labels)
    most = max(1, (partitions - 1) // 3)
    wanted = max(_HOLDOUT_ROWS / each, _HOLDOUT_RARE / (each * target.rarest))
    holdout = min(max(math.ceil(wanted), 2 if partitions > 6 else 1), most)
    train = max(math.ceil(_TRAIN_ROWS / each), 2 * holdout)
    first_after = max(2 * holdout, min(holdout + train, partitions - 1), min(_USUAL, partitions - _SCORED))
    rows = holdout * each
    policy = "default" if rows >= POLICIES["default"].min_holdout_rows else "bootstrap"
    why = f"{holdout} of about {each:,.0f} labelled rows: {rows:,.0f} to judge on"
    if target.task != "regression":
        why += f", {rows * target.rarest:,.0f} of them of the rarest class"
    return Windows(max(first_after, min(partitions, max(_WINDOW, 8 * holdout))), holdout, first_after, policy, why)


def first_run(life: Life, windows: Windows | None) -> tuple[str, str]:
    """First and last partition of the run that ends with a first model and some scored partitions."""
    count = (windows.first_after + _SCORED) if windows else _USUAL
    return life.keys[0], life.keys[min(count, len(life.keys)) - 1]
