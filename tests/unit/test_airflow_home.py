"""What an embedded Airflow is told, and the secrets that a home keeps."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from pipelines.errors import ConfigError
from pipelines.home import Home
from pipelines.runs.airflow_home import airflow_environment, password_file, passwords
from pipelines.runs.lock import only_orchestrator

_VARIABLE = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home", tmp_path / "config")


def test_secrets_are_made_once_and_are_the_owners_alone(home: Home) -> None:
    first, second = airflow_environment(home), airflow_environment(home)
    names = ["AIRFLOW__CORE__FERNET_KEY", "AIRFLOW__API__SECRET_KEY", "AIRFLOW__API_AUTH__JWT_SECRET"]
    assert [first[name] for name in names] == [second[name] for name in names]
    assert len(first["AIRFLOW__API_AUTH__JWT_SECRET"]) >= 64
    assert stat.S_IMODE((home.airflow / "secrets.json").stat().st_mode) == 0o600


def test_two_homes_have_different_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW__API__SECRET_KEY", raising=False)  # one that the operator sets wins
    found = {airflow_environment(Home(tmp_path / name, tmp_path))["AIRFLOW__API__SECRET_KEY"] for name in "ab"}
    assert len(found) == 2


def test_passwords_are_kept(home: Home) -> None:
    first = passwords(home)
    assert sorted(first) == ["admin", "viewer"]
    assert passwords(home) == first
    assert stat.S_IMODE(password_file(home).stat().st_mode) == 0o600


def test_everything_listens_on_loopback(home: Home) -> None:
    settings = airflow_environment(home, port=18099)
    assert settings["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert settings["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://127.0.0.1:18099/execution/"


def test_a_setting_from_outside_wins(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(_VARIABLE, "postgresql://db/airflow")
    assert airflow_environment(home)[_VARIABLE] == "postgresql://db/airflow"


def test_an_airflow_home_from_outside_does_not_win(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Someone's own Airflow must not be filled with our DAGs."""
    monkeypatch.setenv("AIRFLOW_HOME", "/somewhere/else")
    assert airflow_environment(home)["AIRFLOW_HOME"] == str(home.airflow)


def test_a_home_has_one_orchestrator(home: Home) -> None:
    with only_orchestrator(home, "'make up'"), pytest.raises(ConfigError, match=r"E-RUN-BUSY .* in use by 'make up'"):  # noqa: SIM117
        with only_orchestrator(home, "'nightshift run'"):
            pass
    with only_orchestrator(home, "'nightshift run'"):
        pass
