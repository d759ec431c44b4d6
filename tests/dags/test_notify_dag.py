"""The task `notify` and the callbacks are there where a pipeline asks for them, and decide nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipelines.home import REPOSITORY, Home
from pipelines.runs.airflow_home import airflow_environment
from tests.conftest import ALPHA, write_config

READ = """
import json
from airflow.dag_processing.dagbag import DagBag
bag = DagBag({folder!r}, bundle_name="nightshift")
found = {{"errors": bag.import_errors}}
for dag_id in ("alpha__daily", "gamma__daily", "alpha__retrain", "gamma__retrain"):
    dag = bag.dags[dag_id]
    found[dag_id] = {{
        "edges": sorted((task.task_id, below) for task in dag.tasks for below in task.downstream_task_ids),
        "told": sorted(task.task_id for task in dag.tasks if task.on_failure_callback),
        "late": [alert.interval.total_seconds() / 60 for alert in dag.deadline or []],
    }}
notify = bag.dags["alpha__daily"].get_task("notify")
found["task"] = [notify.is_teardown, notify.on_failure_fail_dagrun, notify.trigger_rule.value, notify.retries]
print("RESULT" + json.dumps(found))
"""


def read(tmp_path: Path, **variables: str) -> dict[str, Any]:
    asks = "gate: {shadow: 7}\nnotify: {to: [slack_default], late_after_minutes: 90}\nresources:"
    text = ALPHA.replace("resources:", asks)
    home = Home(tmp_path / "home", write_config(tmp_path, alpha=text, gamma=ALPHA.replace("alpha", "gamma")))
    run = subprocess.run(
        [sys.executable, "-c", READ.format(folder=str(REPOSITORY / "dags"))],
        env=airflow_environment(home) | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(run.stdout.rsplit("RESULT", 1)[1])
    return found


@pytest.mark.slow
def test_where_a_pipeline_asks_for_it_a_teardown_waits_for_every_leaf(tmp_path: Path) -> None:
    """A leaf that is no teardown would be the one that decides what became of the run."""
    found = read(tmp_path)
    assert found["errors"] == {}
    daily, retrain = found["alpha__daily"], found["alpha__retrain"]
    assert [edge for edge in daily["edges"] if "notify" in edge] == [["finish", "notify"], ["shadow", "notify"]]
    assert [edge for edge in retrain["edges"] if "notify" in edge] == [["promote", "notify"]]
    assert found["task"] == [True, False, "all_done_setup_success", 2]
    tasks = {task for edge in daily["edges"] for task in edge}
    assert set(daily["told"]) == tasks - {"notify"}  # what fails to tell must not be told the same way
    assert daily["late"] == [90]
    assert retrain["late"] == []  # it may wait for a person for a day


@pytest.mark.slow
def test_without_notify_nothing_is_there_and_a_run_from_a_terminal_has_no_clock(tmp_path: Path) -> None:
    found = read(tmp_path, NIGHTSHIFT_IN_PROCESS="1")
    for dag_id in ("gamma__daily", "gamma__retrain"):
        assert found[dag_id]["told"] == found[dag_id]["late"] == []
        assert [edge for edge in found[dag_id]["edges"] if "notify" in edge] == []
    assert found["alpha__daily"]["late"] == []
