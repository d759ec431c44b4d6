"""The child process of `nightshift run`: runs DAG runs one after another in this process, as `dag.test()` does.

Requests are JSON lines on standard input, events are JSON lines on the file descriptor given as argument. Unlike
`dag.test()`, the runs carry a partition key, the DAG files are read once for all runs, a retry does not wait for its
delay, and an asset event that a run emits is linked to the retrain run that follows, so that a scheduler started on
this home later does not start that retrain again.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from pipelines.errors import without_values
from pipelines.runs.unread_dags import absent_dag

_RETRY_PAUSE_SECONDS = 0.5


def main() -> None:
    events = os.fdopen(int(sys.argv[1]), "w", buffering=1)
    requests = _requests()
    bag = _prepare()
    _emit(events, event="ready")
    for request in requests:
        _run(bag, request, events)


def _requests() -> Any:
    """Requests as they come. When the parent is gone, so is this process, even in the middle of a task."""
    import queue

    waiting: queue.Queue[dict[str, Any] | None] = queue.Queue()

    def read() -> None:
        for line in sys.stdin:
            waiting.put(json.loads(line))
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    return iter(waiting.get, None)


def _emit(events: Any, **event: Any) -> None:
    events.write(json.dumps(event, default=str) + "\n")


def _prepare() -> Any:
    """Migrates the database when needed, reads all DAGs once, and ends what an earlier killed process left."""
    from airflow import settings  # importing Airflow initializes it; twice is once too much for its local settings
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db
    from airflow.utils.db import check_migrations, initdb

    try:
        check_migrations(0)
    except Exception:  # no database yet, or an older one
        initdb()
    manager = DagBundlesManager()
    with settings.Session() as session:
        manager.sync_bundles_to_db(session=session)
        session.commit()
        _fail_left_runs(session)
    _initialize_metrics()
    bundle = next(iter(manager.get_all_dag_bundles()))
    bundle.initialize()
    bag = BundleDagBag(dag_folder=bundle.path, bundle_path=bundle.path, bundle_name=bundle.name)
    sync_bag_to_db(bag, bundle.name, bundle.version)
    return bag


def _initialize_metrics() -> None:
    """As the process of a task does under a scheduler (airflow.sdk.execution_time.task_runner, 3.3.2)."""
    from airflow.sdk.configuration import conf
    from airflow.sdk.observability import stats
    from airflow.sdk.observability.metrics.stats_utils import get_stats_factory

    stats.initialize(
        factory=get_stats_factory(), export_legacy_names=conf.getboolean("metrics", "legacy_names_on", fallback=False)
    )


def _fail_left_runs(session: Any) -> None:
    """Runs of an earlier process that was killed are marked failed; the next run of the partition does their work."""
    from airflow.models.dagrun import DagRun
    from sqlalchemy import select

    left = session.scalars(select(DagRun).where(DagRun.run_id.startswith("local__"), DagRun.state == "running"))
    for run in left:
        if any(task.state == "awaiting_input" for task in run.task_instances):
            continue
        run.state = "failed"
        for task in run.task_instances:
            if task.state in ("running", "queued", "scheduled"):
                task.state = "failed"
    session.commit()


def _run(bag: Any, request: dict[str, Any], events: Any) -> None:
    started = time.monotonic()
    dag_id, partition = request["dag_id"], request["partition"]
    dag = bag.dags.get(dag_id)
    report: dict[str, Any] = {"event": "run", "dag_id": dag_id, "partition": partition, "run_id": None}
    if dag is None:
        error = str(absent_dag(dag_id, bag.import_errors))
        _emit(events, **report, state="failed", seconds=0.0, error=error, summaries={})
        return
    try:
        state, run_id, error, summaries = _Run(dag, request, events).finish()
    except Exception as problem:  # wrong params, a database that is away: this run ends, the process stays
        logging.getLogger("nightshift").exception("the run of %s for %s broke off", dag_id, partition)
        error = f"E-RUN-BROKEN {dag_id} {partition}: {without_values(problem)}"
        state, run_id, summaries = "failed", None, {}
    seconds = round(time.monotonic() - started, 3)
    _emit(events, **report | {"run_id": run_id}, state=state, seconds=seconds, error=error, summaries=summaries)


class _Run:
    """One DAG run. The loop is that of `dag.test()` (airflow.sdk.definitions.dag, 3.3.2)."""

    def __init__(self, dag: Any, request: dict[str, Any], events: Any) -> None:
        from airflow import settings
        from airflow.serialization.serialized_objects import DagSerialization

        self.dag, self.events, self.partition = dag, events, request["partition"]
        self.session = settings.Session()
        self.scheduler_dag = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))
        self.run = self._create(request["conf"])
        self.errors: list[str] = []
        self.summaries: dict[str, Any] = {}

    def _create(self, conf: dict[str, Any]) -> Any:
        from airflow.sdk import timezone
        from airflow.utils.types import DagRunTriggeredByType, DagRunType

        now = timezone.utcnow()
        run = self.scheduler_dag.create_dagrun(
            run_id=f"local__{self.partition}__{now.isoformat()}",
            logical_date=None,
            data_interval=None,
            run_after=now,
            start_date=now,
            conf=conf,
            run_type=DagRunType.MANUAL,
            triggered_by=DagRunTriggeredByType.CLI,
            triggering_user_name="nightshift run",
            state="running",
            partition_key=self.partition if self.scheduler_dag.timetable.partitioned else None,
            session=self.session,
        )
        self._take_events(run)
        self.session.commit()
        return run

    def _take_events(self, run: Any) -> None:
        """Links what waits for a run of this DAG and partition (asset events) to this run."""
        from airflow.models.asset import AssetPartitionDagRun
        from sqlalchemy import update

        self.session.flush()
        waiting = (
            update(AssetPartitionDagRun)
            .where(
                AssetPartitionDagRun.target_dag_id == run.dag_id,
                AssetPartitionDagRun.partition_key == self.partition,
                AssetPartitionDagRun.created_dag_run_id.is_(None),
            )
            .values(created_dag_run_id=run.id)
        )
        self.session.execute(waiting)

    def finish(self) -> tuple[str, str, str | None, dict[str, Any]]:
        while str(self.run.state) == "running":
            ready = self._ready()
            for task in ready:
                self._run_task(task)
            if not ready and self._is_parked():
                return "awaiting_input", self.run.run_id, None, self.summaries
        run_id, state = self.run.run_id, str(self.run.state)
        self.session.close()
        return state, run_id, self.errors[0] if self.errors else None, self.summaries

    def _ready(self) -> list[Any]:
        """Task instances that may run now, marked scheduled; retries at once instead of after their delay."""
        from airflow.sdk import timezone

        self.session.expire_all()
        for task in self.run.get_task_instances(session=self.session):
            if task.state in ("up_for_retry", "up_for_reschedule"):
                time.sleep(_RETRY_PAUSE_SECONDS)
                task.state = None
        self.session.flush()
        schedulable, _ = self.run.update_state(session=self.session)
        for task in schedulable:
            task.try_number += 1
            task.state = "scheduled"
            task.scheduled_dttm = timezone.utcnow()
        self.session.commit()
        tasks = self.run.get_task_instances(session=self.session)
        return sorted((task for task in tasks if task.state == "scheduled"), key=lambda t: (t.task_id, t.map_index))

    def _is_parked(self) -> bool:
        """Whether nothing but a person's answer can continue this run (Required Actions in the UI)."""
        self.session.expire_all()
        states = {str(task.state) for task in self.run.get_task_instances(session=self.session)}
        if str(self.run.state) != "running":
            return False
        return "awaiting_input" in states

    def _run_task(self, task: Any) -> None:
        name = {"event": "task", "dag_id": task.dag_id, "partition": self.partition, "task_id": task.task_id}
        name |= {"map_index": task.map_index}
        _emit(self.events, **name, state="started")
        started = time.monotonic()
        with _task_log(task):
            result = self._in_this_process(task)
            state, error = str(getattr(result.state, "value", result.state)), None
            if result.error is not None and state in ("failed", "up_for_retry"):
                error = str(result.error) if str(result.error).startswith("E-") else repr(result.error)
                logging.getLogger("nightshift").error("%s", error)
        if error is not None and state == "failed":
            self.errors.append(error)
        summary = self._summary(task)
        if summary is not None and state == "success":
            self.summaries[task.task_id] = summary
        seconds = round(time.monotonic() - started, 3)
        reason = str(result.error) if result.error is not None and state == "skipped" else None
        _emit(
            self.events,
            **name,
            state=state,
            seconds=seconds,
            error=error,
            reason=reason,
            summary=summary,
            try_number=task.try_number,
        )

    def _in_this_process(self, task: Any) -> Any:
        """What `airflow.sdk.definitions.dag._run_task` does, with the result kept."""
        from airflow.sdk.api.datamodels._generated import TaskInstance
        from airflow.sdk.execution_time.supervisor import run_task_in_process

        task.set_state("queued")
        mine = TaskInstance(
            id=task.id,
            task_id=task.task_id,
            dag_id=task.dag_id,
            run_id=task.run_id,
            try_number=task.try_number,
            map_index=task.map_index,
            dag_version_id=task.dag_version_id,
        )
        result = run_task_in_process(ti=mine, task=self.dag.task_dict[task.task_id])
        task.set_state(result.ti.state)
        return result

    def _summary(self, task: Any) -> Any:
        from airflow.models.xcom import XComModel

        row = self.session.scalars(
            XComModel.get_many(
                key="return_value",
                run_id=task.run_id,
                dag_ids=task.dag_id,
                task_ids=task.task_id,
                map_indexes=task.map_index,
            )
        ).first()
        return XComModel.deserialize_value(row) if row else None


class _task_log:
    """Writes what a task logs to the file where the Airflow UI looks for it, one JSON object per line."""

    def __init__(self, task: Any) -> None:
        from airflow.configuration import conf

        mapped = f"map_index={task.map_index}/" if task.map_index >= 0 else ""
        self.path = Path(
            conf.get("logging", "base_log_folder"),
            f"dag_id={task.dag_id}/run_id={task.run_id}/task_id={task.task_id}/{mapped}attempt={task.try_number}.log",
        )

    def __enter__(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.handler = logging.FileHandler(self.path)
        self.handler.setFormatter(_JsonLine())
        logging.getLogger().addHandler(self.handler)

    def __exit__(self, *_: object) -> None:
        logging.getLogger().removeHandler(self.handler)
        self.handler.close()


class _JsonLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        from datetime import UTC, datetime

        import structlog

        moment = datetime.fromtimestamp(record.created, UTC).isoformat()
        line = {"timestamp": moment, "level": record.levelname.lower(), "logger": record.name}
        line |= {"event": record.getMessage(), **structlog.contextvars.get_contextvars()}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


if __name__ == "__main__":
    main()
