"""Limits of drift: what many columns share, what is usual, weekdays, and each reason that a partition can give."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipelines.monitoring.column_verdict import ColumnVerdict
from pipelines.monitoring.limits import Chances, Floors, Usual, psi_limits, usual
from pipelines.monitoring.reference import ColumnReference, Reference, with_profile
from pipelines.monitoring.schema import schema_reasons
from pipelines.monitoring.statistics import Bins, ColumnStatistics
from pipelines.monitoring.verdict import PartitionVerdict, judge_partition, with_alarms
from pipelines.monitoring.weekdays import explained
from pipelines.settings.monitor import Monitor

WEEK = range(7)
NUMBER = Bins("number", edges=(1.0, 2.0))
EVEN = (400, 300, 300)
ONE_GROUP = np.zeros(8, dtype=np.int64)


def number(counts: tuple[int, ...], nulls: int = 0) -> ColumnStatistics:
    return ColumnStatistics(sum(counts) + nulls, nulls, counts, mean=1.0, std=1.0, minimum=0.0, maximum=3.0)


def word(counts: tuple[int, ...], lone: int = 0) -> ColumnStatistics:
    """Rows of 'a', 'b', other and new categories."""
    return ColumnStatistics(sum(counts), 0, counts, distinct=sum(count > 0 for count in counts), lone=lone)


def reference(parts: list[ColumnStatistics], bins: Bins = NUMBER, columns: int = 1) -> Reference:
    rows = {f"2026-03-{day:02d}": part.rows for day, part in enumerate(parts, start=1)}
    return Reference(rows, {f"x{place}": ColumnReference(bins, tuple(parts)) for place in range(columns)})


def judged(trained: Reference, current: ColumnStatistics, **known: Any) -> PartitionVerdict:
    profile = dict.fromkeys(trained.columns, current)
    return judge_partition(trained, profile, current.rows, known.pop("importance", {}), Monitor(), **known)


def test_fifty_columns_share_the_rate_that_one_has_alone() -> None:
    one, fifty = Chances.shared(0.01, 1), Chances.shared(0.01, 50)
    assert (one.alarm, fifty.alarm, fifty.watch) == pytest.approx((0.01, 0.0002, 0.001))
    limits = [psi_limits(Usual(0.0, 20), 1_000, 1_000, 10, Floors(0.0, 0.0), each) for each in (one, fifty)]
    # (1/1000 + 1/1000) * chi-squared with 9 degrees of freedom: 21.67 at 0.01, 31.9 at 0.0002 (Wilson and Hilferty)
    assert limits[0].retrain == pytest.approx(0.0433, abs=0.0003)
    assert limits[1].retrain == pytest.approx(0.0635, abs=0.0015)


@pytest.mark.parametrize(
    ("weight", "expected"),
    [
        pytest.param(3.0, 0.12, id="an important column needs the floor, not less"),
        pytest.param(1.0, 0.12, id="an even share"),
        pytest.param(0.8, 0.15, id="a little less needs a larger shift"),
        pytest.param(0.1, 0.24, id="at most twice the floor"),
        pytest.param(0.0, 0.24, id="no importance"),
    ],
)
def test_the_least_shift_that_counts_grows_as_importance_falls(weight: float, expected: float) -> None:
    assert Floors(0.05, 0.12).weighted(weight).retrain == pytest.approx(expected)


def test_one_broken_reference_partition_does_not_make_all_breakage_usual() -> None:
    quiet = np.array([EVEN] * 8, dtype=np.float64)
    broken = quiet.copy()
    broken[3] = (0, 0, 1000)
    offsets = np.array([(400 + step, 300 - step, 300) for step in (-120, -90, -60, -30, 30, 60, 90, 120)], float)
    assert usual(quiet, ONE_GROUP) == Usual(0.0, 4)  # 63 % of 8 - 1 degrees of freedom
    assert usual(broken, ONE_GROUP).variance < 0.03  # the PSI of that partition is above 5
    assert usual(offsets, ONE_GROUP).variance > 0.03


def test_weekday_explains_weekends_and_not_chance() -> None:
    random = np.random.default_rng(3)
    days = [day % 7 for day in range(28)]
    alike = random.multinomial(1_000, [0.4, 0.3, 0.3], 28).astype(float)
    weekends = np.array([random.multinomial(1_000, [0.2, 0.3, 0.5] if day >= 5 else [0.4, 0.3, 0.3]) for day in days])
    assert explained(weekends.astype(float), days)
    assert not explained(alike, days)
    assert not explained(weekends[:14].astype(float), days[:14]), "two of each weekday do not tell how far they differ"


def weekly() -> Reference:
    random = np.random.default_rng(4)
    shares = {day: [0.1, 0.2, 0.7] if day >= 5 else [0.4, 0.3, 0.3] for day in WEEK}
    parts = [number(tuple(int(n) for n in random.multinomial(1_000, shares[day % 7]))) for day in range(28)]
    found = reference(parts)
    return with_profile(found, {key: place % 7 for place, key in enumerate(found.rows)}, "auto")


@pytest.mark.parametrize(
    ("counts", "weekday", "grade"),
    [
        pytest.param((100, 200, 700), 6, "quiet", id="a Sunday like Sundays"),
        pytest.param((100, 200, 700), 1, "alarm", id="a Tuesday like Sundays"),
        pytest.param((400, 300, 300), 6, "alarm", id="a Sunday like Tuesdays"),
    ],
)
def test_a_day_is_compared_with_its_weekday(counts: tuple[int, ...], weekday: int, grade: str) -> None:
    found = judged(weekly(), number(counts), weekday=weekday)
    assert found.grade == grade
    name = {6: "Sundays", 1: "Tuesdays"}[weekday]
    assert all(f"shifted against earlier {name}: PSI" in reason for reason in found.reasons)


def test_without_a_profile_weekends_are_usual_and_nothing_is_called_drift() -> None:
    trained = with_profile(reference([*weekly().columns["x0"].parts]), {}, "auto")
    assert judged(trained, number((100, 200, 700)), weekday=6).grade == "quiet"


@pytest.mark.parametrize(
    ("current", "lone", "expected"),
    [
        pytest.param((495, 500, 0, 5), 0, "quiet", id="half a per cent"),
        pytest.param((480, 500, 0, 20), 0, "watch", id="two per cent are worth a look"),
        pytest.param((420, 500, 0, 80), 0, "alarm", id="eight per cent"),
        pytest.param((420, 500, 0, 80), 80, "quiet", id="names: each day brings as many"),
    ],
)
def test_new_categories(current: tuple[int, ...], lone: int, expected: str) -> None:
    bins = Bins("category", categories=("a", "b"), known=("a", "b", "c"))
    parts = [word((460 + step - lone, 500, 40 - step + lone, 0), lone) for step in (0, 3, -3, 2, -2, 1, -1, 0)]
    reasons = [reason for reason in judged(reference(parts, bins), word(current)).reasons if "NEW_CAT" in reason]
    assert bool(reasons) == (expected != "quiet")
    column: ColumnVerdict = judged(reference(parts, bins), word(current)).columns[0]
    share = column.measures["new_share"]
    grade = (
        "alarm"
        if share > column.measures["new_retrain"]
        else "watch"
        if share > column.measures["new_watch"]
        else "quiet"
    )
    assert grade == expected


@pytest.mark.parametrize(
    ("ones", "rows", "is_dead"),
    [
        pytest.param(10, 100, False, id="a rare flag is absent from a small partition by chance"),
        pytest.param(10, 5_000, True, id="never from a large one"),
        pytest.param(500, 100, True, id="a common flag never"),
    ],
)
def test_a_column_is_dead_when_chance_does_not_explain_it(ones: int, rows: int, is_dead: bool) -> None:
    flag = Bins("number", edges=(0.5,))
    parts = [ColumnStatistics(1_000, 0, (1_000 - ones, ones), mean=0.1, std=0.3, minimum=0.0, maximum=1.0)] * 10
    current = ColumnStatistics(rows, 0, (rows, 0), mean=0.0, std=0.0, minimum=0.0, maximum=0.0)
    found = judged(reference(parts, flag), current)
    assert any(reason.startswith("DEAD_COLUMN") for reason in found.reasons) == is_dead


def test_columns_that_move_a_little_together_are_an_alarm_although_none_is() -> None:
    parts = [number(EVEN)] * 8
    a_little = number((280, 330, 390))  # PSI 0.069 each, the floor of one column is 0.12
    many, one = judged(reference(parts, columns=10), a_little), judged(reference(parts), a_little)
    assert {column.grade for column in many.columns} == {"watch"}
    assert many.grade == "alarm"
    assert many.reasons[0].startswith("JOINT_SHIFT the columns moved together: mean PSI by importance 0.0")
    assert one.grade == "watch"


def test_a_shift_of_a_column_without_importance_is_only_watched() -> None:
    trained = reference([number(EVEN)] * 8, columns=2)
    profile = {"x0": number(EVEN), "x1": number((100, 100, 800))}
    grades = [
        judge_partition(trained, profile, 1_000, importance, Monitor()).grade
        for importance in ({"x0": 1.0, "x1": 0.0}, {"x0": 1.0, "x1": 1.0}, {})
    ]
    assert grades == ["watch", "alarm", "alarm"]


@pytest.mark.parametrize(("rows", "grade"), [(1_999, "quiet"), (2_001, "watch"), (501, "quiet"), (499, "watch")])
def test_volume_far_from_all_reference_partitions_is_watched(rows: int, grade: str) -> None:
    trained = replace(reference([number(EVEN)] * 8), columns={})
    found = judge_partition(trained, {}, rows, {}, Monitor())
    assert found.grade == grade
    assert all(reason.startswith(f"VOLUME {rows:,} rows") for reason in found.reasons)


def test_more_missing_values() -> None:
    trained = reference([number(EVEN, nulls=20)] * 8)
    found = judged(trained, number((300, 225, 225), nulls=250))
    assert (found.grade, found.reasons) == (
        "alarm",
        ("NULLS 'x0' (100% of the model's importance): missing values 2.0% -> 25.0%.",),
    )


def test_schema_changes_are_alarms_named_first() -> None:
    schema = pa.schema([("amount", pa.string()), ("country", pa.string()), ("code", pa.int64())])
    known = {"amount": "number", "country": "category", "code": "category", "gone": "number"}
    reasons = schema_reasons(schema, known)
    assert reasons == [
        "SCHEMA 'gone' is missing, the champion was trained on it.",
        "SCHEMA 'amount' is of type string, the champion was trained on a number.",
    ]
    assert schema_reasons(schema, ["amount", "country"]) == []
    quiet = PartitionVerdict("quiet", (), ())
    assert with_alarms(quiet, reasons) == PartitionVerdict("alarm", tuple(reasons), ())
    assert with_alarms(quiet, []) == quiet
