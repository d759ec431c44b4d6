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
        if reason := silent(context["dag_run"]):
            raise AirflowSkipException(reason)
        try:
            pipeline, ledger = _loaded(self.pipeline)
            return self._send(context, pipeline, ledger)
        except NightshiftError as error:
            raise error if error.retryable else AirflowFailException(str(error)) from None

    def _send(self, context: Context, pipeline: Pipeline, ledger: Ledger) -> str:
        run_id, message = context["run_id"], self.message(pipeline, context["dag_run"])
        to = list(pipeline.notify.to)  # type: ignore[union-attr]
        if message.mood == "bad":
            told = _told_of_failure(ledger, message, run_id)
            to = [name for name in to if name not in told]
        if not to:
            raise AirflowSkipException("the failure was told when it happened")
        deliver(pipeline.notify, message, run_id, ledger, to)  # type: ignore[arg-type]
        return message.title

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


def _told_of_failure(ledger: Ledger, message: Message, run_id: str) -> set[str]:
    """Connections that took a message about a failed task of this run."""
    rows = ledger.notifications(message.pipeline, message.partition)
    return {row["connection"] for row in rows if row["run_id"] == run_id and row["topic"].startswith("failure ")}


def tell_failure(context: Context) -> None:
    """`on_failure_callback`: a task failed for good (a retry is not told of). Never raises."""
    run, task = context.get("dag_run"), context["ti"]  # of a task that was killed Airflow may know less
    if os.environ.get(IN_PROCESS):
        return  # somebody sits in front of it
    pipeline, _, dag = task.dag_id.rpartition("__")
    error = _told(context.get("exception"))
    with _never_raising():
        from pipelines.notify.events import failure_message
        from pipelines.notify.reading import safe

        settings, ledger = _loaded(pipeline)
        partition, topic = partition_of(run), f"failure {task.run_id} {task.task_id} {task.try_number}"
        if _is_backfill(run):  # of hundreds of days that fail alike one is enough
            hour = f"{datetime.now(UTC):%Y-%m-%dT%H}"
            partition, topic = "", f"failure backfill {task.task_id} {error.split()[0]} {hour}"
            dag = f"backfill ({partition_of(run)})"
        known = safe(ledger, settings)
        message = failure_message(pipeline, partition, task.task_id, error, topic, dag, known, base_url())
        _deliver_patiently(settings, message, task.run_id, ledger)


def _told(exception: Any) -> str:
    """An error of our own in full, of any other its kind; a task that was killed leaves a text or nothing."""
    if isinstance(exception, BaseException) and not str(exception).startswith("E-"):
        return type(exception).__name__
    return str(exception or "E-RUN-KILLED task: it was killed or did not answer any more.")


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


def silent(run: Any) -> str:
    """Why nothing is told of a run that went its way; empty when it is."""
    if os.environ.get(IN_PROCESS):
        return "run from a terminal: nothing is sent; 'nightshift notify' prints the message"
    return "a backfill tells only of its failures" if _is_backfill(run) else ""


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


def _deliver_patiently(pipeline: Pipeline, message: Message, run_id: str, ledger: Ledger) -> None:
    for pause in (*_PAUSES_SECONDS, None):
        try:
            return deliver(pipeline.notify, message, run_id, ledger)  # type: ignore[arg-type]
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
