"""A search of several workers is one mapped task, as scoring is; of one worker it is a plain one (test_dags.py)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.home import REPOSITORY, Home
from pipelines.runs.airflow_home import airflow_environment
from tests.conftest import ALPHA, write_config

TUNING = "tuning: {trials: 6, workers: 3, ranges: {max_depth: [1, 4]}}"
READ = """
import json
from airflow.dag_processing.dagbag import DagBag
bag = DagBag({folder!r}, bundle_name="nightshift")
dag = bag.dags["alpha__retrain"]
tune = dag.get_task("tune")
edges = sorted((task.task_id, below) for task in dag.tasks for below in task.downstream_task_ids)
found = {{"expanded": tune.expand_input.value, "queue": tune.partial_kwargs["queue"], "edges": edges}}
print("RESULT" + json.dumps(found))
"""


@pytest.mark.slow
def test_a_search_of_three_workers_is_mapped_over_them(tmp_path: Path) -> None:
    text = ALPHA.replace("training: {task: binary}", f"training: {{task: binary, {TUNING}}}")
    text = text.replace("resources:", "resources:\n  tune: {queue: gpu}")
    home = Home(tmp_path / "home", write_config(tmp_path, alpha=text))
    read = READ.format(folder=str(REPOSITORY / "dags"))
    run = subprocess.run(
        [sys.executable, "-c", read], env=airflow_environment(home), capture_output=True, text=True, check=True
    )
    found = json.loads(run.stdout.rsplit("RESULT", 1)[1])
    assert found["expanded"] == {"worker": [0, 1, 2]}
    assert found["queue"] == "gpu"
    assert ["snapshot", "tune"] in found["edges"]
    assert ["tune", "train"] in found["edges"]
