"""The task that takes the released scores of one partition back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nightshift_tasks import StepOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class Retract(StepOperator):
    """Makes the partition's scores unreadable; who asked and why is kept in the history."""

    def choose_partition(self, context: Context) -> str:
        return str(context["params"]["partition"])

    def given(self, context: Context) -> dict[str, Any]:
        actor = getattr(context["dag_run"], "triggering_user_name", None) or "airflow"
        return {"reason": context["params"]["reason"], "actor": actor}
