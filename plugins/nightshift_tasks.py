"""What Nightshift's DAG files build with: the operator that runs one step, the wait for history.

Nothing of the data world is imported here; a step's modules are imported when its task runs.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, BaseSensorOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from nightshift_credentials import use_s3_connection
from nightshift_links import LINKS, remember, remembered
from nightshift_observability import measured
from nightshift_resources import IN_PROCESS

from pipelines.errors import NightshiftError, without_values
from pipelines.runs.steps import call_step, latest_clean

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.types import RuntimeTaskInstanceProtocol  # noqa: F401

HISTORY_POKE_SECONDS = 5
HISTORY_TIMEOUT_MINUTES = 60
_MOST_DIFFERENCES = 5


def partition_of(context: Context) -> str:
    """The partition that this run is for: the run's partition key, else its conf, else its params.

    Raises:
        AirflowFailException: E-RUN-PARTITION; Airflow starts partitioned DAGs without a key when Trigger is pressed.
    """
    run = context["dag_run"]
    key = run.partition_key or (run.conf or {}).get("partition_key") or context["params"].get("partition_key")
    if not key:
        raise AirflowFailException(
            f"E-RUN-PARTITION {run.dag_id}: this run has no partition key, so there is nothing to work on. "
            "Trigger it again with a partition key such as '2026-03-02' (under 'Advanced Options'), or use a backfill."
        )
    return str(key)


class StepOperator(BaseOperator):
    """Runs one step of one pipeline for the run's partition; its summary is the task's XCom.

    Bad data and bad configuration fail at once, trouble with storage is retried. A step that reports the state
    'skipped' ends skipped, and so do the tasks that need it.

    Args:
        pipeline: The pipeline's name.
        step: The step's name; by default the task id.
        shard: Which part of the partition (`score` is mapped over shards).
        worker: Which of those that share the work (`tune` is mapped over workers).
        arguments: The step's further arguments, each from the summary of an earlier task: `{"version": "train"}`
            passes `version` out of the summary of `train`.
    """

    ui_color = "#e8eef7"

    def __init__(
        self,
        *,
        pipeline: str,
        step: str | None = None,
        shard: int | None = None,
        worker: int | None = None,
        arguments: dict[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.pipeline, self.step, self.shard, self.worker = pipeline, step or self.task_id, shard, worker
        self.arguments = arguments or {}
        self.operator_extra_links = LINKS.get(self.step, ())

    def execute(self, context: Context) -> dict[str, Any]:
        self.partition = self.choose_partition(context)
        remember(self, context, partition=self.partition)
        parts = {"shard": self.shard, "worker": self.worker}
        arguments = self.given(context) | {name: part for name, part in parts.items() if part is not None}
        return self.call(context, arguments, self.notes(context))

    def choose_partition(self, context: Context) -> str:
        return partition_of(context)

    def given(self, context: Context) -> dict[str, Any]:
        return {name: pulled(context, task)[name] for name, task in self.arguments.items()}

    def notes(self, context: Context) -> dict[str, Any]:  # noqa: ARG002
        """What joins the recorded summary beside the step's own words."""
        return {}

    def call(self, context: Context, arguments: dict[str, Any], notes: dict[str, Any]) -> dict[str, Any]:
        remember(self, context, **arguments)
        try:
            use_s3_connection()
            with measured(self.pipeline, self.partition, context["run_id"], self.step) as outcome:
                outcome |= call_step(
                    self.pipeline, self.partition, context["run_id"], self.step, arguments=arguments, notes=notes
                )
        except NightshiftError as error:
            raise as_airflow(error) from None
        except Exception as error:
            # A defect, or a library's own words, which may quote rows: the log gets the place and the shape of it.
            raise RuntimeError(without_values(error)).with_traceback(error.__traceback__) from None
        summary = json.loads(json.dumps(outcome, default=str))
        remember(self, context, **summary)
        if summary.get("state") == "skipped":
            context["ti"].xcom_push(key="return_value", value=summary)
            raise AirflowSkipException(str(summary.get("reason", f"nothing to do in '{self.step}'")))
        return dict(summary)

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:  # noqa: ARG002
        """Asked for by Airflow's OpenLineage provider, and only where lineage is switched on; also after a failure."""
        from nightshift_lineage import openlineage

        known = remembered(self)
        return openlineage(self.pipeline, str(known.get("partition") or ""), self.step, known)


class Score(StepOperator):
    """`score`, mapped over shards: of a mapped task Airflow reads the links from the class."""

    operator_extra_links = LINKS["score"]


def as_airflow(error: NightshiftError) -> Exception:
    """The error that makes Airflow retry (storage, network) or fail for good (data, configuration, models).

    A final one says which task to clear after the repair. Not under `nightshift run`, which says the command instead.
    """
    if error.retryable:
        return error
    in_a_terminal = bool(os.environ.get(IN_PROCESS))
    again = f" Then clear task '{error.repeat}'." if error.repeat and not in_a_terminal else ""
    return AirflowFailException(f"{error}{again}")


def pulled(context: Context, task: str) -> dict[str, Any]:
    """The summary that `task` of this run returned.

    Raises:
        AirflowFailException: E-RUN-SUMMARY when there is none (the task was cleared or never ran).
    """
    summary = context["ti"].xcom_pull(task_ids=task)
    if not isinstance(summary, dict):
        raise AirflowFailException(
            f"E-RUN-SUMMARY {context['dag_run'].dag_id}: task '{task}' left no summary. "
            "Clear it together with this task."
        )
    return summary


class AwaitHistory(BaseSensorOperator):
    """Waits until every earlier partition that this one looks back to has been accepted, refused or found absent.

    So the result does not depend on the order in which a backfill runs its days.
    """

    ui_color = "#f4efe1"

    def __init__(self, *, pipeline: str, **kwargs: Any) -> None:
        super().__init__(mode="reschedule", poke_interval=HISTORY_POKE_SECONDS, **kwargs)
        self.pipeline = pipeline

    def poke(self, context: Context) -> bool:
        from pipelines.history import require_history, unsettled_history
        from pipelines.runs.step import open_context

        try:
            run = open_context(self.pipeline, partition_of(context), context["run_id"])
            missing = unsettled_history(run)
            if missing and (os.environ.get(IN_PROCESS) or self._is_last_look(context)):
                require_history(run)
        except NightshiftError as error:
            raise as_airflow(error) from None
        if missing:
            self.log.info("waiting for earlier partitions: %s", ", ".join(missing))
        return not missing

    def _is_last_look(self, context: Context) -> bool:
        """Whether the time is up after this look: then the step's own error says which partitions are missing."""
        from airflow.sdk import timezone

        first = context["ti"].get_first_reschedule_date(context)
        if first is None:
            return False
        return bool((timezone.utcnow() - first).total_seconds() + 2 * HISTORY_POKE_SECONDS > self.timeout)


class Replay(StepOperator):
    """Rebuilds a version; fails when it differs, with the first of what does. Its summary says everything."""

    def choose_partition(self, context: Context) -> str:  # noqa: ARG002
        try:
            return latest_clean(self.pipeline)
        except NightshiftError as error:
            raise as_airflow(error) from None

    def given(self, context: Context) -> dict[str, Any]:
        return {name: context["params"][name] for name in ("version", "inputs", "settings")}

    def execute(self, context: Context) -> dict[str, Any]:
        summary = super().execute(context)
        if summary["verdict"] != "equal":
            context["ti"].xcom_push(key="return_value", value=summary)
            told = "; ".join(summary["differences"][:_MOST_DIFFERENCES])
            raise AirflowFailException(f"E-REPLAY-DIFFERS {self.pipeline} version {summary['version']}: {told}.")
        return summary


class Rollback(BaseOperator):
    """Puts an earlier champion back; who asked and why is stored with the change."""

    def __init__(self, *, pipeline: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pipeline = pipeline
        self.operator_extra_links = LINKS["rollback"]

    def execute(self, context: Context) -> dict[str, Any]:
        params, run = context["params"], context["dag_run"]
        actor = getattr(run, "triggering_user_name", None) or "airflow"
        arguments = {"version": params.get("version"), "actor": actor, "reason": params["reason"]}
        try:
            partition = latest_clean(self.pipeline)
            summary = call_step(self.pipeline, partition, context["run_id"], "rollback", arguments=arguments)
            remember(self, context, **summary)
            return summary
        except NightshiftError as error:
            raise as_airflow(error) from None
