"""The DAGs of two small pipelines: their ids, their edges, their schedules, and that one bad file harms no other."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import DataError
from pipelines.home import REPOSITORY, Home
from pipelines.runs.airflow_home import airflow_environment
from tests.conftest import ALPHA, BETA, write_config

DAILY = [
    ("ingest", "validate"),
    ("validate", "await_history"),
    ("await_history", "deduplicate"),
    ("deduplicate", "build_features"),
]
SCORES = [
    ("build_features", "monitor"),
    ("build_features", "score"),
    ("score", "audit"),
    ("audit", "release"),
    ("release", "monitor"),
    ("monitor", "request_retrain"),
    ("release", "finish"),
    ("request_retrain", "finish"),
]
RETRAIN = [("snapshot", "tune"), ("tune", "train"), ("train", "evaluate"), ("evaluate", "gate"), ("gate", "promote")]
APPROVED = [("gate", "approve"), ("approve", "promote")]


@pytest.fixture(scope="module")
def bag(airflow_home: Home) -> Any:  # noqa: ARG001 - Airflow is set up before its first import
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(str(REPOSITORY / "dags"), bundle_name="nightshift")


def edges(dag: Any) -> list[tuple[str, str]]:
    return sorted((task.task_id, child) for task in dag.tasks for child in task.downstream_task_ids)


def test_each_pipeline_gets_its_dags(bag: Any) -> None:
    assert bag.import_errors == {}
    assert sorted(bag.dags) == [
        "alpha__daily",
        "alpha__replay",
        "alpha__retract",
        "alpha__retrain",
        "alpha__retrain_nightly",
        "alpha__rollback",
        "beta__daily",  # no training: nothing to retrain, replay, score or roll back
        "nightshift__maintenance",
    ]


@pytest.mark.parametrize(
    ("dag_id", "expected"),
    [
        ("alpha__daily", DAILY + SCORES),
        ("beta__daily", DAILY),
        ("alpha__retrain", RETRAIN + APPROVED),
        ("alpha__retrain_nightly", []),
        ("alpha__replay", []),
        ("alpha__retract", []),
        ("alpha__rollback", []),
        ("nightshift__maintenance", []),
    ],
)
def test_tasks_run_in_this_order(bag: Any, dag_id: str, expected: list[tuple[str, str]]) -> None:
    assert edges(bag.dags[dag_id]) == sorted(expected)


def test_score_is_mapped_over_the_shards(bag: Any) -> None:
    score = bag.dags["alpha__daily"].get_task("score")
    assert score.is_mapped
    assert score.expand_input.value == {"shard": [0, 1]}


@pytest.mark.parametrize(
    ("dag_id", "task_id", "names"),
    [
        ("alpha__daily", "validate", ["Data Docs", "Partition", "Quarantine"]),
        ("alpha__daily", "score", ["Model version", "Partition"]),  # mapped: Airflow asks the class, not the object
        ("alpha__daily", "release", ["Model version", "Partition", "Release"]),
        ("alpha__daily", "monitor", ["Decision", "Drift report", "Partition"]),
        ("alpha__retrain", "tune", ["MLflow run", "Pipeline"]),
        ("alpha__retrain", "approve", ["Decision", "MLflow run", "MLflow version", "Model version"]),
        ("alpha__rollback", "rollback", ["Model version"]),
    ],
)
def test_the_server_knows_each_link_of_a_task_apart(bag: Any, dag_id: str, task_id: str, names: list[str]) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    dag = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(bag.dags[dag_id]))
    links = dag.get_task(task_id).operator_extra_link_dict
    assert sorted(links) == names
    assert len({link.xcom_key for link in links.values()}) == len(names)


def test_daily_runs_carry_the_partition_that_has_just_ended(bag: Any) -> None:
    """A run offset of 0 would work on the day that has only begun."""
    alpha = bag.dags["alpha__daily"].timetable
    assert (alpha.expression, alpha.run_offset, alpha.key_format) == ("0 2 * * *", -1, "%Y-%m-%d")


def test_a_pipeline_without_schedule_can_still_be_backfilled(bag: Any) -> None:
    """schedule=None would make the backfill form refuse: weekly ticks on Monday, and no catching up by itself."""
    beta = bag.dags["beta__daily"]
    assert (beta.timetable.expression, str(beta.timetable.timezone)) == ("0 0 * * 1", "Europe/Berlin")
    assert beta.catchup is False


@pytest.mark.parametrize(
    ("dag_id", "first", "last"),
    [
        # The tick for 2026-03-01 comes on 03-02, the one for the last partition 03-12 on 03-13.
        ("alpha__daily", "2026-03-02T00:00:00+00:00", "2026-03-14T00:00:00+00:00"),
        # Monday 2026-03-09 00:00 in Berlin is 23:00 UTC of the day before.
        ("beta__daily", "2026-03-08T23:00:00+00:00", None),
    ],
)
def test_ticks_lie_inside_the_life_of_the_pipeline(bag: Any, dag_id: str, first: str, last: str | None) -> None:
    dag = bag.dags[dag_id]
    assert dag.start_date.isoformat() == first
    assert (dag.end_date and dag.end_date.isoformat()) == last


def test_resources_reach_the_task(bag: Any) -> None:
    train, gate = (bag.dags["alpha__retrain"].get_task(task) for task in ("train", "gate"))
    replay = bag.dags["alpha__replay"].get_task("replay")
    assert (train.queue, train.pool, train.pool_slots) == ("gpu", "gpu", 1)
    assert (replay.queue, replay.pool, replay.pool_slots) == ("gpu", "gpu", 1)
    assert (gate.queue, gate.pool, gate.retries) == ("default", "default_pool", 2)
    assert (train.retry_delay.total_seconds(), train.max_retry_delay.total_seconds()) == (10, 600)
    # The step keeps the time itself: Airflow's alarm would replace its own.
    assert train.execution_timeout is None


def test_only_one_retrain_at_a_time_and_it_listens_to_the_asset(bag: Any) -> None:
    dag = bag.dags["alpha__retrain"]
    assert dag.max_active_runs == 1
    assert dag.timetable.asset_condition.uri == "nightshift://alpha/retrain"


def _parse(home: Home, code: str) -> dict[str, Any]:
    """What a fresh process prints as JSON after reading the DAG folder; `bag` is the DagBag."""
    read = f"""
import json, sys
from airflow.dag_processing.dagbag import DagBag
bag = DagBag({str(REPOSITORY / "dags")!r}, bundle_name="nightshift")
print("RESULT" + json.dumps({code}))
"""
    environment = airflow_environment(home)
    run = subprocess.run([sys.executable, "-c", read], env=environment, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(run.stdout.rsplit("RESULT", 1)[1])
    return found


@pytest.mark.slow
def test_a_broken_pipeline_is_named_and_takes_no_other_down(tmp_path: Path) -> None:
    config = write_config(tmp_path, alpha=ALPHA.replace("name: alpha", "name: alpha\nnmae: x"), beta=BETA)
    found = _parse(Home(tmp_path / "home", config), "{'dags': sorted(bag.dags), 'errors': bag.import_errors}")
    assert found["dags"] == ["beta__daily", "nightshift__maintenance"]
    assert [Path(file).name for file in found["errors"]] == ["settings_errors.py"]
    (text,) = found["errors"].values()
    assert "E-CONFIG-PIPELINE" in text
    assert "nmae" in text


@pytest.mark.slow
def test_reading_the_dags_imports_nothing_heavy(tmp_path: Path) -> None:
    heavy = [
        *("pandas", "numpy", "pyarrow", "ibis", "duckdb", "deltalake", "mlflow", "great_expectations", "evidently"),
        *("xgboost", "sklearn", "torch", "matplotlib", "scipy"),
    ]
    home = Home(tmp_path / "home", write_config(tmp_path, alpha=ALPHA, beta=BETA))
    found = _parse(home, f"{{'dags': len(bag.dags), 'heavy': [name for name in {heavy!r} if name in sys.modules]}}")
    assert found == {"dags": 8, "heavy": []}


@pytest.mark.slow
@pytest.mark.parametrize(("command", "is_preloaded"), [("dag-processor", True), ("scheduler", False)])
def test_the_dag_processor_imports_the_settings_once_for_all_files(
    tmp_path: Path, command: str, is_preloaded: bool
) -> None:
    """Airflow runs plugins/airflow_local_settings.py when it starts; the children that read the files are forked."""
    home = Home(tmp_path / "home", write_config(tmp_path, alpha=ALPHA))
    code = f"import sys; sys.argv = ['airflow', {command!r}]; import airflow.settings; "
    code += "print('PRELOADED', 'pipelines.settings' in sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], env=airflow_environment(home), capture_output=True, text=True, check=True
    )
    assert f"PRELOADED {is_preloaded}" in run.stdout


@pytest.mark.slow
def test_inside_a_task_only_its_own_pipeline_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "beta__daily")
    home = Home(tmp_path / "home", write_config(tmp_path, alpha=ALPHA, beta=BETA))
    assert _parse(home, "sorted(bag.dags)") == ["beta__daily", "nightshift__maintenance"]


def test_every_task_that_a_worker_runs_is_tried_again_soon(bag: Any) -> None:
    """A worker may die under any of them; Airflow's own pause before a retry would be five minutes."""
    nightly = [dag for name, dag in bag.dags.items() if name.endswith(("__daily", "__retrain", "__retrain_nightly"))]
    tasks = [task for dag in nightly for task in dag.tasks if task.task_id != "finish"]  # which no worker runs
    hasty = {task.task_id for task in tasks if not (task.retries and task.retry_delay.total_seconds() <= 30)}
    assert len(tasks) > 20
    assert hasty == set()


@pytest.mark.parametrize(
    ("in_process", "ending"),
    [("", "Deliver the file again. Then clear task 'ingest'."), ("1", "Deliver the file again.")],
    ids=["in Airflow one clears the task", "in a terminal one runs the command that is printed"],
)
def test_a_final_error_says_how_it_is_done_again_where_one_stands(
    airflow_home: Home,  # noqa: ARG001 - Airflow is set up before its first import
    monkeypatch: pytest.MonkeyPatch,
    in_process: str,
    ending: str,
) -> None:
    from nightshift_tasks import as_airflow

    monkeypatch.setenv("NIGHTSHIFT_IN_PROCESS", in_process)
    error = DataError("E-IN-EMPTY", "cards", "the file must hold records", "Deliver the file again.", repeat="ingest")
    assert str(as_airflow(error)) == f"E-IN-EMPTY cards: the file must hold records. {ending}"
