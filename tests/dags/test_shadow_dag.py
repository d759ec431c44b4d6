"""The task `shadow` is there where a pipeline asks for it, and nothing waits for it (without it: test_dags.py)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.home import REPOSITORY, Home
from pipelines.runs.airflow_home import airflow_environment
from tests.conftest import ALPHA, write_config

READ = """
import json
from airflow.dag_processing.dagbag import DagBag
bag = DagBag({folder!r}, bundle_name="nightshift")
found = {{}}
for name in ("alpha", "gamma"):
    dag = bag.dags[name + "__daily"]
    found[name] = sorted((task.task_id, below) for task in dag.tasks for below in task.downstream_task_ids)
shadow = bag.dags["alpha__daily"].get_task("shadow")
found["task"] = {{"rule": str(shadow.trigger_rule.value), "queue": shadow.queue, "retries": shadow.retries}}
found["after"] = bag.dags["alpha__retrain"].get_task("approve").after
print("RESULT" + json.dumps(found))
"""


@pytest.mark.slow
def test_the_task_exists_where_it_is_configured_and_holds_nothing_up(tmp_path: Path) -> None:
    text = ALPHA.replace("resources:", "gate: {shadow: 7}\nresources:\n  shadow: {queue: score}")
    home = Home(tmp_path / "home", write_config(tmp_path, alpha=text, gamma=ALPHA.replace("alpha", "gamma")))
    run = subprocess.run(
        [sys.executable, "-c", READ.format(folder=str(REPOSITORY / "dags"))],
        env=airflow_environment(home),
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(run.stdout.rsplit("RESULT", 1)[1])
    added = [edge for edge in found["alpha"] if edge not in found["gamma"]]
    assert added == [["monitor", "shadow"], ["release", "shadow"]]  # a leaf: no task stands behind it
    assert [edge for edge in found["gamma"] if edge not in found["alpha"]] == []
    assert found["task"] == {"rule": "all_done", "queue": "score", "retries": 2}
    assert "A yes puts it in shadow for 7 partitions" in found["after"]
