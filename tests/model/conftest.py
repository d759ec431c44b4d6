"""Homes whose MLflow database exists already: creating its tables takes longer than any test here."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.context import Context
from tests.model import feeds


@pytest.fixture(scope="session")
def empty_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from pipelines.training.mlflow_client import registry

    run = feeds.context(tmp_path_factory.mktemp("mlflow"), "2026-03-01")
    with registry(run) as client:
        client.search_experiments()
    return run.home.root / "mlflow" / "mlflow.db"


@pytest.fixture
def new_home(tmp_path: Path, empty_mlflow: Path) -> Callable[..., Context]:
    def make(partition: str, **changes: Any) -> Context:
        run = feeds.context(tmp_path, partition, **changes)
        (tmp_path / "mlflow").mkdir(exist_ok=True)
        shutil.copy(empty_mlflow, tmp_path / "mlflow" / "mlflow.db")
        return run

    return make
