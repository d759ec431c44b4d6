"""Among how many tests the yearly budget of false promotions is shared, and what one test may then risk."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pipelines.partitions import parse_partition
from pipelines.training.budget import decided_before, firings, planned
from pipelines.training.policy import NIGHTLY, POLICIES, Policy


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        pytest.param("0 4 * * *", 365, id="nightly"),
        pytest.param("@daily", 365, id="a preset"),
        pytest.param("0 5 * * 1", 52, id="Mondays"),
        pytest.param("0 5 1 * *", 12, id="monthly"),
        pytest.param("0 0 29 2 *", 1, id="leap days count as if each year had one"),
        pytest.param("0 * * * *", 8760, id="hourly"),
    ],
)
def test_firings_in_a_year(cron, expected):
    assert firings(cron) == pytest.approx(expected, abs=1)


def test_a_cron_of_every_minute_is_not_counted_to_its_end():
    assert firings("* * * * *") == pytest.approx(365 * 24 * 60, rel=1e-3)


def pipeline(schedule, grain="day", cooldown=3):
    return SimpleNamespace(
        partition=grain,
        retrain=SimpleNamespace(schedule=schedule),
        monitor=SimpleNamespace(cooldown_partitions=cooldown),
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(pipeline(None), 365 / 4, id="only drift: one in four partitions at most"),
        pytest.param(pipeline(None, cooldown=0), 365, id="no cooldown: every partition"),
        pytest.param(pipeline("0 5 * * 1"), 52 + 365 / 4, id="Mondays and drift"),
        pytest.param(pipeline("0 5 1 * *", grain="month", cooldown=2), 12 + 12 / 3, id="months"),
    ],
)
def test_planned_tests_are_those_of_the_schedule_and_of_drift(given, expected):
    assert planned(given) == pytest.approx(expected, abs=1)


def test_decisions_count_that_lie_in_the_year_before_and_are_of_other_runs():
    rows = [
        {"partition": "2026-03-10", "run_id": "mine"},  # this run before its retry
        {"partition": "2026-03-10", "run_id": "other"},
        {"partition": "2025-03-11", "run_id": "old"},
        {"partition": "2025-03-10", "run_id": "older"},  # a year and more
        {"partition": "2026-03-11", "run_id": "later"},  # a decision knows nothing later
    ]
    context = SimpleNamespace(
        run_id="mine", partition=parse_partition("2026-03-10"), pipeline=SimpleNamespace(parse=parse_partition)
    )
    assert decided_before(context, rows) == 2


@pytest.mark.parametrize(
    ("policy", "tests", "expected"),
    [
        pytest.param(POLICIES["default"], 365, 0.5 / 365, id="nightly: the budget decides"),
        pytest.param(POLICIES["default"], 2, 0.05, id="twice a year: the confidence decides"),
        pytest.param(Policy(false_promotions_per_year=2), 365, 2 / 365, id="a larger budget"),
        pytest.param(POLICIES["default"], 0, 0.05, id="never planned"),
    ],
)
def test_what_one_test_may_risk(policy, tests, expected):
    assert policy.alpha(tests) == pytest.approx(expected)


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
def test_a_year_of_nights_stays_within_one_false_promotion(policy):
    assert NIGHTLY * policy.alpha(NIGHTLY) <= 0.5
