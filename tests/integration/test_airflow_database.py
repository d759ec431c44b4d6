"""The PostgreSQL server of a home: there while Airflow runs, whatever happened to the launcher before."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from sqlalchemy import create_engine, text

from pipelines.home import Home
from pipelines.servers.airflow_database import airflow_database
from tests.conftest import without_airflow

pytestmark = pytest.mark.slow

_VARIABLE = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.delenv(_VARIABLE, raising=False)  # another test's Airflow
    return Home(tmp_path / "home", tmp_path / "config")


def ask(url: str, statement: str) -> list[int]:
    with create_engine(url).begin() as connection:
        done = connection.execute(text(statement))
        return [row[0] for row in done] if done.returns_rows else []


def test_what_was_written_is_there_at_the_next_start_and_nothing_runs_between(home: Home) -> None:
    (home.airflow / "postgres" / "data.making").mkdir(parents=True)  # a first start that was killed half way
    with airflow_database(home) as database:
        ask(database.variables[_VARIABLE], "create table night as select 7 as done")
        (child,) = database.children
        assert child.process is not None
    assert not psutil.pid_exists(child.process.pid)
    with airflow_database(home) as database:
        assert ask(database.variables[_VARIABLE], "select done from night") == [7]


@pytest.mark.skipif(os.geteuid() != 0, reason="a copy belongs to whoever copies; only root is not the server's user")
def test_a_home_that_root_copied_or_restored_starts(home: Home, tmp_path: Path) -> None:
    with airflow_database(home) as database:
        ask(database.variables[_VARIABLE], "create table night as select 7 as done")
    shutil.copytree(home.root, tmp_path / "restored")
    with airflow_database(Home(tmp_path / "restored", home.config)) as database:
        assert ask(database.variables[_VARIABLE], "select done from night") == [7]


def test_a_database_from_outside_is_left_alone(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(_VARIABLE, "postgresql+psycopg2://me@elsewhere/airflow")
    with airflow_database(home) as database:
        assert (database.variables, database.children) == ({}, [])
    assert not (home.airflow / "postgres").exists()


def test_a_killed_launcher_leaves_no_server_and_the_next_waits_for_its_end(home: Home) -> None:
    code = (
        "import pathlib, time; from pipelines.home import Home\n"
        "from pipelines.servers.airflow_database import airflow_database\n"
        f"with airflow_database(Home(pathlib.Path({str(home.root)!r}), pathlib.Path('config'))) as database:\n"
        "    print(database.children[0].process.pid, flush=True); time.sleep(600)\n"
    )
    launcher = subprocess.Popen([sys.executable, "-c", code], env=without_airflow(), stdout=subprocess.PIPE, text=True)
    assert launcher.stdout is not None
    server = int(launcher.stdout.readline())
    os.kill(launcher.pid, signal.SIGKILL)
    launcher.wait()
    with airflow_database(home) as database:
        assert ask(database.variables[_VARIABLE], "select 1") == [1]
    deadline = time.monotonic() + 10
    while psutil.pid_exists(server):
        assert time.monotonic() < deadline, "the server of the killed launcher still runs"
        time.sleep(0.1)
