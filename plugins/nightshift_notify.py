"""When people are told: at the end of a night, of a failure at once, of a night that is late.

Nothing here may change what became of a run. The task `notify` is a teardown: Airflow leaves it out when it judges
the run, so that a webhook that is down is a red task in a green run.
"""

from __future__ import annotations

import logging
import os
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, DeadlineAlert, DeadlineReference, SyncCallback
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from nightshift_delivery import deliver
from nightshift_resources import IN_PROCESS, task_arguments

from pipelines.errors import NightshiftError, StorageError

if TYPE_CHECKING:
    from airflow.sdk import Context

    from pipelines.ledger import Ledger
    from pipelines.notify.message import Message
    from pipelines.settings import Pipeline
    from pipelines.settings.notify import Notify as Settings

log = logging.getLogger("nightshift")

# A callback is called once; it tries itself, but does not keep a worker for long.
_PAUSES_SECONDS = (2.0, 5.0)
_LONGEST = timedelta(minutes=5)


class Notify(BaseOperator):
    """Sends the message of this run, if it has one, and ends skipped with the reason when it has none."""

    ui_color = "#eef7ea"

    def __init__(self, *, pipeline: Pipeline, **kwargs: Any) -> None:
        own = {"on_failure_callback": None, "execution_timeout": _LONGEST}  # a server that hangs keeps no run open
        super().__init__(task_id="notify", **task_arguments(pipeline, "notify") | own | kwargs)
        self.pipeline = pipeline.name

    def execute(self, context: Context) -> str:
        if os.environ.get(IN_PROCESS):
            raise AirflowSkipException("run from a terminal: nothing is sent; 'nightshift notify' prints the message")
        try:
            pipeline, ledger = _loaded(self.pipeline)
            if failed := _failed_tasks(context):
                return self._tell_failed(context, pipeline, ledger, failed)
            if _is_backfill(context["dag_run"]):
                raise AirflowSkipException("a backfill tells only of its failures")
            message = self.message(pipeline, context["dag_run"])
            deliver(_settings(pipeline), message, context["run_id"], ledger)
            return message.title
        except NightshiftError as error:
            raise error if error.retryable else AirflowFailException(str(error)) from None

    def _tell_failed(self, context: Context, pipeline: Pipeline, ledger: Ledger, failed: list[str]) -> str:
        """What no callback told, or no connection took when it did."""
        from pipelines.notify.failures import failures

        titles = []
        for one in failures(ledger, self.pipeline, context["run_id"], failed):
            message = _failure(context, pipeline, ledger, one.step, one.error, one.topic)
            to = [name for name in _settings(pipeline).to if name not in one.told]
            if to:
                deliver(_settings(pipeline), message, context["run_id"], ledger, to)
                titles.append(message.title)
        if not titles:
            raise AirflowSkipException("the failure was told when it happened")
        return "; ".join(titles)

    def message(self, pipeline: Pipeline, run: Any) -> Message:
        from pipelines.home import Home
        from pipelines.notify import reading

        partition = partition_of(run)
        if not partition:
            raise AirflowSkipException("the run has no partition, so there is nothing to tell")
        return reading.night(Home.resolve(), pipeline, partition, base_url())


class NotifyRetrain(Notify):
    """Sends a message when this run changed the champion, or when nobody answered its question in time."""

    def message(self, pipeline: Pipeline, run: Any) -> Message:
        from pipelines.home import Home
        from pipelines.notify import reading

        found = reading.of_retrain(Home.resolve(), pipeline, run.run_id, base_url())
        if found is None:
            raise AirflowSkipException("the champion did not change, so there is nothing to tell")
        return found


def _failed_tasks(context: Context) -> list[str]:
    task = context["ti"]
    ended = task.get_task_breadcrumbs(dag_id=task.dag_id, run_id=task.run_id)
    return sorted({row["task_id"] for row in ended if str(row["state"]) == "failed"})


def tell_failure(context: Context) -> None:
    """`on_failure_callback`: a task failed for good (a retry is not told of). Never raises."""
    if os.environ.get(IN_PROCESS):
        return  # somebody sits in front of it
    task = context["ti"]
    with _never_raising():
        from pipelines.notify.failures import topic

        pipeline, ledger = _loaded(task.dag_id.rpartition("__")[0])
        about = f"{topic(task.run_id, task.task_id)}{task.try_number}"
        message = _failure(context, pipeline, ledger, task.task_id, _told(context.get("exception")), about)
        _deliver_patiently(pipeline, message, task.run_id, ledger)


def _failure(context: Context, pipeline: Pipeline, ledger: Ledger, step: str, error: str, topic: str) -> Message:
    from pipelines.notify.events import failure_message
    from pipelines.notify.reading import safe

    run = context.get("dag_run")  # of a task that was killed Airflow may know less
    partition, dag = partition_of(run), context["ti"].dag_id.rpartition("__")[2]
    if _is_backfill(run):  # of hundreds of days that fail alike one is enough
        topic = f"failure backfill {step} {error.split()[0]} {datetime.now(UTC):%Y-%m-%dT%H}"
        partition, dag = "", f"backfill ({partition})"
    return failure_message(pipeline.name, partition, step, error, topic, dag, safe(ledger, pipeline), base_url())


def _told(exception: Any) -> str:
    """An error of our own in full, of any other its kind; a task that was killed leaves a text or nothing."""
    if isinstance(exception, BaseException) and not str(exception).startswith("E-"):
        return type(exception).__name__
    from pipelines.notify.failures import KILLED

    return str(exception or KILLED)


def tell_approval(context: Context, pipeline: str) -> None:
    """Somebody is asked whether a version may be promoted. Never raises: the question stands without it."""
    if os.environ.get(IN_PROCESS):
        return
    with _never_raising():
        from pipelines import approvals
        from pipelines.home import Home
        from pipelines.notify import reading

        settings, ledger = _loaded(pipeline)
        if settings.notify is None:
            return
        run_id = context["run_id"]
        message = reading.of_approval(Home.resolve(), settings, run_id, base_url(), approvals.WAITING)
        if message:
            _deliver_patiently(settings, message, run_id, ledger)


def tell_late(context: dict[str, Any], pipeline: str, minutes: int) -> None:
    """The deadline of a daily run passed. Called in a worker's process, with the run as plain data."""
    from pipelines.notify.events import late_message

    run = context["dag_run"]
    if run["run_type"] == "backfill" or run["state"] not in ("queued", "running"):
        return
    settings, ledger = _loaded(pipeline)
    partition = run.get("partition_key") or (run.get("conf") or {}).get("partition_key") or ""
    message = late_message(pipeline, partition, run["dag_run_id"], minutes, base_url())
    _deliver_patiently(settings, message, run["dag_run_id"], ledger)


def watched(pipeline: Pipeline) -> dict[str, Any]:
    """What a DAG of this pipeline is given so that its failures are told: nothing without `notify`."""
    return {"on_failure_callback": tell_failure} if pipeline.notify else {}


def deadline(pipeline: Pipeline) -> DeadlineAlert | None:
    """Of a daily run, from the moment at which it is queued. `nightshift run` has no clock that looks at it."""
    if pipeline.notify is None or pipeline.notify.late_after_minutes is None or os.environ.get(IN_PROCESS):
        return None
    minutes = pipeline.notify.late_after_minutes
    return DeadlineAlert(
        name="late",
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(minutes=minutes),
        callback=SyncCallback(tell_late, kwargs={"pipeline": pipeline.name, "minutes": minutes}),
    )


def partition_of(run: Any) -> str:
    """The run's partition, or the empty string; a retrain's is its `as_of`."""
    if run is None:
        return ""
    conf = run.conf or {}
    return str(run.partition_key or conf.get("partition_key") or conf.get("as_of_partition") or "")


def base_url() -> str:
    """Where people reach Airflow: `[api] base_url`."""
    from airflow.configuration import conf

    return str(conf.get("api", "base_url", fallback="http://localhost:8080"))


def _is_backfill(run: Any) -> bool:
    return run is not None and str(getattr(run.run_type, "value", run.run_type)) == "backfill"


def _loaded(name: str) -> tuple[Pipeline, Ledger]:
    from pipelines.home import Home
    from pipelines.ledger import Ledger
    from pipelines.settings import load_pipeline

    home = Home.resolve()
    return load_pipeline(name, home.config), Ledger(home.ledger_url)


def _settings(pipeline: Pipeline) -> Settings:
    """Those of a pipeline that tells; its file may have lost them since the run began."""
    if pipeline.notify is None:
        raise AirflowSkipException("the pipeline's file has no 'notify' any more")
    return pipeline.notify


def _deliver_patiently(pipeline: Pipeline, message: Message, run_id: str, ledger: Ledger) -> None:
    for pause in (*_PAUSES_SECONDS, None):
        try:
            return deliver(_settings(pipeline), message, run_id, ledger)
        except StorageError:
            if pause is None:
                raise
            time.sleep(pause)


class _never_raising:
    """A message that cannot be made or sent is logged; what it is about goes its way."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> bool:
        if isinstance(error, Exception):
            log.error("E-NOTIFY-UNSENT %s", error, exc_info=not isinstance(error, NightshiftError))
            return True
        return False
