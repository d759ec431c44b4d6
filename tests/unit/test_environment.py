"""Environments: what differs between a laptop and a cluster, and who wins."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipelines.errors import ConfigError
from pipelines.home import REPOSITORY, Home
from pipelines.runs.airflow_home import airflow_environment
from pipelines.settings import load_environment, load_pipeline
from tests.conftest import ALPHA, write_config

CONFIG = REPOSITORY / "config"
ADDRESSES = {
    "NIGHTSHIFT_STORAGE": "s3://bucket/prefix",
    "NIGHTSHIFT_LEDGER_URL": "postgresql+psycopg2://ledger@db/ledger",
    "MLFLOW_TRACKING_URI": "http://mlflow:5000",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql+psycopg2://airflow@db/airflow",
    "AIRFLOW__CELERY__BROKER_URL": "redis://redis/0",
    "AIRFLOW__CELERY__RESULT_BACKEND": "db+postgresql://airflow@db/airflow",
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_config(tmp_path, alpha=ALPHA)


def test_a_laptop_needs_no_address_and_runs_tasks_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AIRFLOW")]:  # another test's Airflow
        monkeypatch.delenv(name)
    assert airflow_environment(Home(tmp_path / "home", CONFIG))["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"


def test_a_cluster_names_every_address_that_it_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTSHIFT_ENVIRONMENT", "cluster")
    for name in [name for name in os.environ if name.startswith("AIRFLOW")]:  # another test's Airflow
        monkeypatch.delenv(name)
    for name, value in ADDRESSES.items():
        monkeypatch.setenv(name, value)
    found = airflow_environment(Home(tmp_path / "home", CONFIG))
    assert found["AIRFLOW__CORE__EXECUTOR"] == "CeleryExecutor"
    assert found["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] == ADDRESSES["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
    monkeypatch.setenv("NIGHTSHIFT_STORAGE", "")
    monkeypatch.delenv("AIRFLOW__CELERY__BROKER_URL")
    with pytest.raises(ConfigError, match="E-CONFIG-VARIABLE environment 'cluster'") as caught:
        airflow_environment(Home(tmp_path / "home", CONFIG))
    assert "'NIGHTSHIFT_STORAGE', 'AIRFLOW__CELERY__BROKER_URL'" in str(caught.value)


def test_a_variable_wins_over_the_environments_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__PARALLELISM", "3")
    assert airflow_environment(Home(tmp_path / "home", CONFIG))["AIRFLOW__CORE__PARALLELISM"] == "3"


def test_the_cluster_sends_heavy_steps_to_their_queues(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTSHIFT_ENVIRONMENT", "cluster")
    pipeline = load_pipeline("alpha", config)
    queues = {step: pipeline.resources_of(step).queue for step in ("ingest", "tune", "train", "score", "release")}
    assert queues == {"ingest": "default", "tune": "gpu", "train": "gpu", "score": "score", "release": "default"}


def test_a_pipeline_wins_over_its_environment(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = ALPHA.replace("train: {queue: gpu,", "train: {queue: large,")
    (config / "pipelines" / "alpha.yaml").write_text(own)
    monkeypatch.setenv("NIGHTSHIFT_ENVIRONMENT", "cluster")
    assert load_pipeline("alpha", config).resources_of("train").queue == "large"


def test_what_comes_out_does_not_depend_on_the_environment(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = load_pipeline("alpha", config).digest()
    monkeypatch.setenv("NIGHTSHIFT_ENVIRONMENT", "cluster")
    assert load_pipeline("alpha", config).digest() == here


def test_an_unknown_environment_is_refused_with_the_nearest_name(config: Path) -> None:
    with pytest.raises(ConfigError, match=r"E-CONFIG-ENVIRONMENT .*'clutser'. Did you mean 'cluster'"):
        load_environment(config, "clutser")


def test_an_environment_of_ones_own_stands_beside_the_pipelines(config: Path) -> None:
    (config / "environments").mkdir()
    (config / "environments" / "night.yaml").write_text("resources: {score: {queue: fast, cpu: 4}}\n")
    with pytest.raises(ConfigError, match=r"night.yaml:1: .*'cpu'.*cpus"):
        load_environment(config, "night")


@pytest.mark.parametrize(("minutes", "is_refused"), [(720, False), (721, True)])
def test_a_step_ends_before_the_broker_hands_it_out_again(
    config: Path, monkeypatch: pytest.MonkeyPatch, minutes: int, is_refused: bool
) -> None:
    """The visibility_timeout of the cluster is a day; a laptop has no broker."""
    text = ALPHA.replace("time_limit_minutes: 90", f"time_limit_minutes: {minutes}")
    (config / "pipelines" / "alpha.yaml").write_text(text)
    assert load_pipeline("alpha", config).resources_of("train").time_limit_minutes == minutes
    monkeypatch.setenv("NIGHTSHIFT_ENVIRONMENT", "cluster")
    if is_refused:
        with pytest.raises(ConfigError, match=r"E-CONFIG-LIMIT alpha train: .* \(86400 s\), got 721\."):
            load_pipeline("alpha", config)
    else:
        load_pipeline("alpha", config)
