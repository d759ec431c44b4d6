"""Links from tasks to what their steps made: reports, MLflow, decisions."""

from __future__ import annotations

import os
from typing import Any

from airflow.sdk import BaseOperator, BaseOperatorLink


class _ReportLink(BaseOperatorLink):
    """A link to a file below the reports folder, offered where the step wrote one."""

    def __init__(self, name: str, path: str) -> None:
        self._name, self._path = name, path

    @property
    def name(self) -> str:
        return self._name

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:  # noqa: ARG002
        partition = getattr(operator, "partition", None)
        pipeline = getattr(operator, "pipeline", "")
        return f"/nightshift/reports/{self._path.format(pipeline=pipeline, partition=partition)}" if partition else ""


class _MlflowLink(BaseOperatorLink):
    """The MLflow server, when this installation runs one (NIGHTSHIFT_MLFLOW_URL)."""

    @property
    def name(self) -> str:
        return "MLflow"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:  # noqa: ARG002
        return os.environ.get("NIGHTSHIFT_MLFLOW_URL", "")


LINKS: dict[str, tuple[BaseOperatorLink, ...]] = {
    "validate": (_ReportLink("Data Docs", "{pipeline}/data_docs/{partition}.html"),),
    "monitor": (_ReportLink("Drift report", "{pipeline}/drift/{partition}.html"),),
    "release": (_ReportLink("Morning page", "index.html"),),
    **{step: (_MlflowLink(),) for step in ("tune", "train", "evaluate", "gate", "promote", "shadow")},
}
