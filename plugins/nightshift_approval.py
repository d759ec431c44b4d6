"""Whether a person is asked before a promotion, what they are asked, and what the ledger keeps of the answer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk.exceptions import AirflowSkipException
from nightshift_links import LINKS, remember
from nightshift_notify import tell_approval
from nightshift_retrain import RetrainStep
from nightshift_tasks import pulled

from pipelines import approvals

if TYPE_CHECKING:
    from airflow.sdk import Context

    from pipelines.ledger import Ledger
    from pipelines.settings import Pipeline


class ApprovePromotion(ApprovalOperator):
    """Asks a person before a promotion; nobody answering in time keeps the champion.

    With `retrain.approve: on_risk` nobody is asked about a promotion in which the gate's record names no risk; a
    record without that list is asked about. What was asked, by whom it was answered and when stands in the ledger.

    Airflow 3.3.2 fails a task whose answer comes before its scheduler has taken note that the task was parked (its
    executor starts the resumed task before it reads the end of the parked one). The retry asks again.
    """

    operator_extra_links = LINKS["approve"]

    def __init__(self, *, pipeline: Pipeline, **kwargs: Any) -> None:
        patience = timedelta(hours=pipeline.retrain.approve_timeout_hours)
        super().__init__(
            subject=f"Promote the challenger of {pipeline.name}?",
            body="",  # of this run's numbers: see execute
            defaults=self.REJECT,
            response_timeout=patience,
            retries=2,
            retry_delay=timedelta(seconds=5),
            **kwargs,
        )
        self.pipeline, self.patience = pipeline.name, patience
        self.asks_always = pipeline.retrain.approve == "always"
        self.after = after_yes(pipeline.gate.shadow)

    def execute(self, context: Context) -> Any:
        require_promote(context)
        gate = pulled(context, "gate")
        if not self.asks_always and gate.get("risks") == []:
            self._record(context, approvals.BY_RULE, {"risks": []})
            return {"approved_by": approvals.RULE}
        now = datetime.now(UTC)
        asked = {"risks": gate.get("risks"), "asked_at": now.isoformat(), "until": (now + self.patience).isoformat()}
        self._record(context, approvals.WAITING, asked)
        tell_approval(context, self.pipeline)
        numbers = self._numbers(context)
        self.body = approvals.question(self.pipeline, gate, numbers, asked["until"], self.after, self.asks_always)
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Records the answer, then lets Airflow go on: a no and a time-out skip the promotion."""
        if "error" not in event:
            yes = event["chosen_options"] == [self.APPROVE]
            person = (event.get("responded_by_user") or {}).get("name")
            no = approvals.TIMEOUT if event.get("timedout") else approvals.NO
            self._record(context, approvals.YES if yes else no, self._asked(context) | _answer(event, person))
        return super().execute_complete(context, event)

    def _record(self, context: Context, outcome: str, numbers: dict[str, Any]) -> None:
        version = pulled(context, "gate").get("version")
        partition, run_id = _as_of(context), context["run_id"]
        approvals.record(_ledger(), self.pipeline, partition, run_id, version, outcome, numbers)

    def _asked(self, context: Context) -> dict[str, Any]:
        """What the question of this run said, which the answer keeps."""
        return dict(_of_run(context, self.pipeline, approvals.KIND))

    def _numbers(self, context: Context) -> dict[str, Any]:
        return dict(_of_run(context, self.pipeline, "gate"))


class Promote(RetrainStep):
    """Promotes only on the gate's PROMOTE; HOLD and REJECT end skipped, with the run a success."""

    def execute(self, context: Context) -> dict[str, Any]:
        remember(self, context, version=pulled(context, "gate").get("version"))
        require_promote(context)
        return super().execute(context)

    def given(self, context: Context) -> dict[str, Any]:
        """With the name of who approved, where somebody was asked or a rule answered."""
        answer = context["ti"].xcom_pull(task_ids="approve") or {}
        name = (answer.get("responded_by_user") or {}).get("name") or answer.get("approved_by")
        return super().given(context) | ({"approved_by": str(name)} if name else {})


def require_promote(context: Context) -> None:
    """Skips the task unless the gate decided PROMOTE."""
    decision = pulled(context, "gate")
    if decision.get("outcome") != "PROMOTE":
        raise AirflowSkipException(f"the gate decided {decision.get('outcome')}: the champion stays")


def after_yes(shadow: int | None) -> str:
    """What a yes leads to where it is not a promotion at once."""
    if not shadow:
        return ""
    return (
        f"A yes puts it in shadow for {shadow} partitions where there is a champion; realised labels then decide, and "
        "nobody is asked again."
    )


def _as_of(context: Context) -> str:
    return str(pulled(context, "snapshot")["as_of_partition"])


def _answer(event: dict[str, Any], person: str | None) -> dict[str, Any]:
    return {"by": person, "answered_at": event["responded_at"].isoformat()}


def _ledger() -> Ledger:
    from pipelines.home import Home
    from pipelines.ledger import Ledger

    return Ledger(Home.resolve().ledger_url)


def _of_run(context: Context, pipeline: str, kind: str) -> dict[str, Any]:
    """The numbers of this run's decision of one kind; empty without one."""
    rows = _ledger().decisions(pipeline, kind, _as_of(context))
    mine = [row for row in rows if row["run_id"] == context["run_id"]]
    return dict(mine[-1]["numbers"]) if mine else {}
