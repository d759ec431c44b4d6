"""Links under a task's "Details": each leads to what this very task made, and is empty where it made nothing.

Airflow evaluates an operator's links in the task's process, after the step, whether it went well, failed or was
skipped, and also while an approval waits. A task that was killed has none.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, BaseOperatorLink

from pipelines.errors import NightshiftError
from pipelines.home import Home
from pipelines.pages import made

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger("nightshift")

_KNOWN = "nightshift_known"


def remember(operator: BaseOperator, context: Context, **known: Any) -> None:
    """What the links of this task may lead to; facts add up as the task learns them."""
    setattr(operator, _KNOWN, {**remembered(operator), **known, "run_id": context["run_id"]})


def remembered(operator: BaseOperator) -> dict[str, Any]:
    """What a task knew when it ended, or broke off."""
    return dict(getattr(operator, _KNOWN, {}))


class _Link(BaseOperatorLink):
    """One link. Its place is found when the task has ended; no trouble with that may fail the task."""

    def __init__(self, name: str, place: made.Place) -> None:
        self._name, self._place = name, place

    @property
    def name(self) -> str:
        return self._name

    @property
    def xcom_key(self) -> str:
        """Airflow's default is one key per class, so that all links of a task would be the last one."""
        return f"_link_{self._name.lower().replace(' ', '_')}"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        known = remembered(operator) or _of_approval(operator, ti_key)
        if not known:
            return ""
        pipeline = str(getattr(operator, "pipeline", None) or operator.dag_id.rpartition("__")[0])
        task = made.Task(Home.resolve(), pipeline, known["run_id"], str(known.get("partition") or ""), known)
        try:
            return self._place(task)
        except (NightshiftError, OSError) as error:
            log.warning("no link '%s': %s", self._name, error)
            return ""


def _of_approval(operator: BaseOperator, task: Any) -> dict[str, Any]:
    """What `approve` asks about: its task begins anew after the answer and remembers nothing."""
    if operator.task_id != "approve":
        return {}
    gate = task.xcom_pull(task_ids="gate")
    return {**gate, "run_id": task.run_id} if isinstance(gate, dict) else {}


_PIPELINE = _Link("Pipeline", made.pipeline_page)
_PARTITION = _Link("Partition", made.partition_page)
_QUARANTINE = _Link("Quarantine", made.quarantine)
_VERSION = _Link("Model version", made.version_page)
_GATE = _Link("Decision", made.gate_decision)
_MLFLOW = (_Link("MLflow run", made.mlflow_run), _Link("MLflow version", made.mlflow_version))

LINKS: dict[str, tuple[BaseOperatorLink, ...]] = {
    "ingest": (_QUARANTINE, _PARTITION),
    "validate": (_Link("Data Docs", made.data_docs), _QUARANTINE, _PARTITION),
    "deduplicate": (_PARTITION,),
    "build_features": (_PARTITION,),
    "score": (_VERSION, _PARTITION),
    "audit": (_Link("Decision", made.decision("audit")), _VERSION, _PARTITION),
    "release": (_Link("Release", made.release), _VERSION, _PARTITION),
    "monitor": (_Link("Drift report", made.drift_report), _Link("Decision", made.decision("drift")), _PARTITION),
    "shadow": (_Link("Decision", made.decision("shadow")), _VERSION, _PARTITION),
    "snapshot": (_PIPELINE,),
    "tune": (_MLFLOW[0], _PIPELINE),
    "train": (*_MLFLOW, _VERSION),
    "evaluate": (*_MLFLOW, _VERSION),
    "gate": (_GATE, *_MLFLOW, _VERSION),
    "approve": (_GATE, *_MLFLOW, _VERSION),
    "promote": (_GATE, *_MLFLOW, _VERSION),
    "replay": (_VERSION,),
    "rollback": (_VERSION,),
}
