"""Waits before a retry, and what a backfill's tasks are turned into."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from pipelines.home import REPOSITORY
from pipelines.settings.pipeline import Resources
from tests.builders import pipeline


@pytest.fixture(autouse=True)
def plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(REPOSITORY / "plugins"))


@pytest.mark.parametrize(
    ("number", "lowest", "highest"),
    [(1, 10, 20), (2, 20, 40), (3, 40, 80), (5, 150, 300), (500, 150, 300)],
    ids=["first", "doubled", "doubled again", "at the longest it is still spread", "no overflow"],
)
def test_waits_double_and_are_spread(number: int, lowest: float, highest: float) -> None:
    from nightshift_resources import SpreadRetries

    waits = [SpreadRetries(10, 300).seconds(number) for _ in range(200)]
    assert lowest <= min(waits)
    assert max(waits) <= highest
    assert max(waits) - min(waits) > 0.5 * (highest - lowest)


def test_resources_become_arguments_of_the_task() -> None:
    from nightshift_resources import task_arguments

    settings = pipeline(resources={"train": {"queue": "gpu", "pool": "gpu", "pool_slots": 2, "retries": 0}})
    found = task_arguments(settings, "train")
    assert (found["queue"], found["pool"], found["pool_slots"], found["retries"]) == ("gpu", "gpu", 2, 0)
    assert found["executor"] is None
    policy = found["retry_policy"]
    assert (policy.delay_seconds, policy.longest_seconds) == (
        Resources().retry_delay_seconds,
        Resources().max_retry_delay_seconds,
    )


def instance(pool: str = "default_pool", run_id: str = "backfill__x", **more: Any) -> SimpleNamespace:
    return SimpleNamespace(pool=pool, priority_weight=7, run_id=run_id, **more)


@pytest.mark.parametrize(
    ("task", "run", "pool", "weight"),
    [
        (instance(), SimpleNamespace(run_type="backfill"), "backfill", -9993),
        (instance(), None, "backfill", -9993),
        (instance(pool="gpu"), SimpleNamespace(run_type="backfill"), "gpu", -9993),
        (instance(run_id="scheduled__x"), SimpleNamespace(run_type="backfill"), "backfill", -9993),
        (instance(), SimpleNamespace(run_type="manual"), "default_pool", 7),
        (instance(run_id="scheduled__x"), None, "default_pool", 7),
        (instance(dag_run=SimpleNamespace(run_type="manual")), None, "default_pool", 7),
    ],
    ids=["backfill", "no run yet", "own pool", "cleared by a backfill", "manual", "scheduled", "run known"],
)
def test_a_backfill_comes_last_and_in_its_own_pool(
    monkeypatch: pytest.MonkeyPatch, task: Any, run: Any, pool: str, weight: int
) -> None:
    monkeypatch.setenv("NIGHTSHIFT_BACKFILL_POOL", "backfill")
    hook = _hook()
    for _ in range(2):  # Airflow may ask twice
        hook(task, dag_run=run)
        assert (task.pool, task.priority_weight) == (pool, weight)


def test_without_the_pool_a_backfill_still_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NIGHTSHIFT_BACKFILL_POOL", raising=False)
    task = instance()
    _hook()(task)
    assert (task.pool, task.priority_weight) == ("default_pool", -9993)


def _hook() -> Any:
    sys.modules.pop("airflow_local_settings", None)
    from airflow_local_settings import task_instance_mutation_hook

    return task_instance_mutation_hook


def test_more_retries_than_airflow_can_count_are_refused_with_the_settings() -> None:
    """A number beyond 32 bits broke every run off, with the database's words."""
    with pytest.raises(ValidationError, match="less than or equal to 100"):
        Resources(retries=99_999_999_999)
