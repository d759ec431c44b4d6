"""Callbacks: what is told of failures and late nights, how often, and that no trouble with telling goes further."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines.home import Home
from tests.conftest import ALPHA, write_config
from tests.notify_servers import Webhook, serving


@pytest.fixture
def hook(airflow_home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:  # noqa: ARG001
    import nightshift_notify

    config = write_config(tmp_path, alpha=ALPHA.replace("resources:", "notify: {to: [hook_ops]}\nresources:"))
    for name, value in Home(tmp_path / "home", config).environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(nightshift_notify, "_PAUSES_SECONDS", ())
    with serving(Webhook()) as started:
        monkeypatch.setenv("AIRFLOW_CONN_HOOK_OPS", json.dumps({"conn_type": "http", "host": started.url}))
        yield started


def fail(error: BaseException, day: str = "2026-03-02", run_type: str = "scheduled", **task: Any) -> None:
    """What Airflow calls when a task of that day's run has failed for good."""
    import nightshift_notify

    run = SimpleNamespace(partition_key=day, conf={}, run_type=run_type)
    given = {"dag_id": "alpha__daily", "run_id": f"{run_type}__{day}", "task_id": "score", "try_number": 1} | task
    nightshift_notify.tell_failure({"dag_run": run, "ti": SimpleNamespace(**given), "exception": error})  # type: ignore[typeddict-item]


def test_shards_that_fail_together_are_one_message_and_the_next_time_is_another(hook: Webhook) -> None:
    for map_index in (0, 1, 2):
        fail(RuntimeError("E-IO-X alpha: the store is away."), map_index=map_index, try_number=3)
    fail(RuntimeError("E-IO-X alpha: the store is away."), try_number=4)  # after somebody cleared it
    assert [body["title"] for _, _, body in hook.got] == ["alpha 2026-03-02: daily failed at score"] * 2
    assert hook.got[0][2]["changed"] == ["score: the store is away. (E-IO-X)"]


def test_days_of_a_backfill_that_fail_alike_are_one_message(hook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import UTC, datetime

    import nightshift_notify

    class Noon(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # noqa: ARG003
            return datetime(2026, 3, 9, 12, 0, tzinfo=UTC)

    monkeypatch.setattr(nightshift_notify, "datetime", Noon)
    for day in ("2026-03-02", "2026-03-03", "2026-03-04"):
        fail(RuntimeError("E-IN-MISSING alpha: there is no file."), day, "backfill")
    fail(RuntimeError("E-IO-X alpha: the store is away."), "2026-03-05", "backfill")
    assert [body["title"] for _, _, body in hook.got] == [
        "alpha: backfill (2026-03-02) failed at score",
        "alpha: backfill (2026-03-05) failed at score",
    ]


def test_what_a_library_says_of_a_row_is_not_told(hook: Webhook) -> None:
    fail(ValueError("could not convert 'Ann Smith, 4711'"))
    assert "Ann" not in json.dumps([body for _, _, body in hook.got])
    assert hook.got[0][2]["changed"] == ["score: ValueError (see the task's log)"]


def test_a_webhook_that_is_down_goes_no_further_than_the_log(hook: Webhook, caplog: pytest.LogCaptureFixture) -> None:
    hook.answers = [500]
    fail(RuntimeError("E-IO-X alpha: the store is away."))
    assert hook.got == []
    assert "E-NOTIFY-UNSENT alpha: connection 'hook_ops' did not take the message (it answered 500)" in caplog.text


def test_a_pipeline_whose_file_was_broken_meanwhile_goes_no_further_than_the_log(
    hook: Webhook, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "config" / "pipelines" / "alpha.yaml").write_text("name: [")
    fail(RuntimeError("E-IO-X alpha: the store is away."))
    assert hook.got == []
    assert "E-CONFIG-" in caplog.text


@pytest.mark.parametrize(
    ("run", "told"),
    [
        pytest.param({}, 1, id="it still works"),
        pytest.param({"run_type": "backfill"}, 0, id="a backfill has all the time"),
        pytest.param({"state": "failed"}, 0, id="it failed before"),
        pytest.param({"state": "success"}, 0, id="it ended just now"),
    ],
)
def test_a_late_night_is_told_while_it_runs(hook: Webhook, run: dict[str, str], told: int) -> None:
    import nightshift_notify

    given = {"run_type": "scheduled", "state": "running", "partition_key": "2026-03-02", "dag_run_id": "r"} | run
    for _ in range(2):
        nightshift_notify.tell_late({"dag_run": given}, "alpha", 90)
    assert [body["title"] for _, _, body in hook.got] == ["alpha 2026-03-02: late, not done after 90 minutes"] * told
