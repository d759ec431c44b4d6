"""What the retrain DAGs build with: who asks for a retrain, and its steps, which know what asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, BaseOperator
from airflow.sdk.exceptions import AirflowSkipException
from nightshift_links import LINKS
from nightshift_tasks import StepOperator, as_airflow, partition_of, pulled

from pipelines.errors import NightshiftError
from pipelines.runs.steps import latest_clean

if TYPE_CHECKING:
    from airflow.sdk import Context


def retrain_asset(pipeline: str) -> Asset:
    """The asset whose event starts `<pipeline>__retrain`; the event's partition key is the as_of partition."""
    return Asset(name=f"{pipeline}_retrain", uri=f"nightshift://{pipeline}/retrain")


class RequestRetrain(BaseOperator):
    """Emits the retrain asset's event when `monitor` decided so; skipped otherwise.

    A backfill never asks for a retrain: it must not move the champion of today.
    """

    ui_color = "#f7e8e8"

    def __init__(self, *, pipeline: str, **kwargs: Any) -> None:
        super().__init__(outlets=[retrain_asset(pipeline)], **kwargs)
        self.pipeline = pipeline

    def execute(self, context: Context) -> dict[str, Any]:
        summary = pulled(context, "monitor")
        if not wants_retrain(summary):
            raise AirflowSkipException(f"the decision is {summary.get('decision', 'unknown')}: no retrain")
        if str(getattr(context["dag_run"].run_type, "value", context["dag_run"].run_type)) == "backfill":
            raise AirflowSkipException("a backfill does not retrain: past days keep their champions")
        extra = {
            "partition": partition_of(context),
            "decision": str(summary.get("decision")),
            "reasons": [str(reason) for reason in summary.get("reasons", [])],
            "trigger": "monitor",
        }
        context["outlet_events"][retrain_asset(self.pipeline)].extra = extra
        return extra


def wants_retrain(summary: dict[str, Any]) -> bool:
    """Whether `monitor` asks for a retrain now (its decision may be RETRAIN while a cooldown holds it back)."""
    return bool(summary.get("trigger", summary.get("decision") == "RETRAIN"))


class RequestNightlyRetrain(BaseOperator):
    """Emits the retrain asset's event for the newest accepted partition, on the pipeline's retrain cron."""

    def __init__(self, *, pipeline: str, **kwargs: Any) -> None:
        super().__init__(outlets=[retrain_asset(pipeline)], **kwargs)
        self.pipeline = pipeline

    def execute(self, context: Context) -> dict[str, Any]:
        try:
            partition = latest_clean(self.pipeline)
        except NightshiftError as error:
            raise AirflowSkipException(str(error)) from None
        event = context["outlet_events"][retrain_asset(self.pipeline)]
        event.extra = {"partition": partition, "trigger": "schedule"}
        event.add_partitions(partition)
        return {"partition": partition}


class RetrainStep(StepOperator):
    """A step of the retrain run: the partition is its `as_of`, and every summary says what triggered the run."""

    def choose_partition(self, context: Context) -> str:
        if self.task_id != "snapshot":
            return str(pulled(context, "snapshot")["as_of_partition"])
        run = context["dag_run"]
        chosen = (
            run.partition_key
            or (run.conf or {}).get("as_of_partition")
            or context["params"].get("as_of_partition")
            or _event_extra(context).get("partition")
        )
        try:
            return str(chosen or latest_clean(self.pipeline))
        except NightshiftError as error:
            raise as_airflow(error) from None

    def notes(self, context: Context) -> dict[str, Any]:
        if self.task_id != "snapshot":
            return {"trigger": pulled(context, "snapshot")["trigger"]}
        return {"as_of_partition": self.partition, "trigger": trigger_of(context)}


class Tune(RetrainStep):
    """`tune`, mapped over workers (see Score)."""

    operator_extra_links = LINKS["tune"]


def trigger_of(context: Context) -> str:
    """In words, what started this retrain: the asset event's text, the conf's, or who pressed the button."""
    run = context["dag_run"]
    if (run.conf or {}).get("trigger"):
        return str(run.conf["trigger"])
    extra = _event_extra(context)
    if extra:
        reasons = "; ".join(extra.get("reasons", []))
        words = f"{extra.get('trigger', 'asset event')} on {extra.get('partition')}"
        return f"{words}: {reasons}" if reasons else words
    return f"manual by {getattr(run, 'triggering_user_name', None) or 'unknown'}"


def _event_extra(context: Context) -> dict[str, Any]:
    """`extra` of the newest asset event that triggered this run, or nothing."""
    found: Sequence[Any] = [event for events in dict(context["triggering_asset_events"]).values() for event in events]
    return dict(found[-1].extra or {}) if found else {}
