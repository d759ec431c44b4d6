"""What every command has in common: exit codes, one line per error, options anywhere, light imports."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.cli.app import _hoisted, exit_code
from pipelines.cli.examine import _module, _port, _read_import_errors, _unset_variables, examine
from pipelines.errors import ConfigError, DataError, ModelError, StorageError
from pipelines.home import Home
from pipelines.launch import cluster
from tests.unit.test_settings_problems import config_folder, good


def _raise(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ConfigError("E-CONFIG-X", "a.yaml:1", "wrong"), 2, "E-CONFIG-X a.yaml:1: wrong."),
        (DataError("E-IN-X", "p 2026-03-02", "bad"), 1, "E-IN-X p 2026-03-02: bad."),
        (ModelError("E-MODEL-X", "p", "worse"), 1, "E-MODEL-X p: worse."),
        (StorageError("E-DB-DOWN", "ledger", "gone"), 1, "E-DB-DOWN ledger: gone."),
        (
            KeyError("x\ny"),
            1,
            "E-BUG-UNEXPECTED nightshift: KeyError: 'x\\ny'. Add --debug to see where.",
        ),
        (
            KeyboardInterrupt(),
            130,
            "E-RUN-INTERRUPTED nightshift: stopped by the user. Finished steps are kept; run the same command again.",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_error_is_one_line_and_an_exit_code(
    error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(lambda: _raise(error)) == code
    assert capsys.readouterr().err == line + "\n"


def test_debug_shows_where() -> None:
    with pytest.raises(DataError):
        exit_code(lambda: _raise(DataError("E-IN-X", "p", "bad")), debug=True)


@pytest.mark.parametrize(("raised", "code"), [(typer.Exit(2), 2), (SystemExit(1), 1), (SystemExit("text"), 1)])
def test_exit_keeps_its_code(raised: BaseException, code: int) -> None:
    command = typer.Typer()
    command.command()(lambda: _raise(raised))
    assert exit_code(lambda: typer.main.get_command(command).main([], standalone_mode=False)) == code


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["run", "x", "--home", "h"], ["--home", "h", "run", "x"]),
        (["run", "--config=c", "x", "--debug"], ["--config=c", "--debug", "run", "x"]),
        (["--home", "h", "run", "--from", "d"], ["--home", "h", "run", "--from", "d"]),
        (["run", "--", "--home", "h"], ["run", "--", "--home", "h"]),
        (["run", "--home"], ["--home", "run"]),
    ],
    ids=["behind", "equals-sign", "before", "after-two-dashes", "value-missing"],
)
def test_common_options_may_stand_anywhere(given: list[str], expected: list[str]) -> None:
    assert _hoisted(list(given)) == expected


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["chek"], "E-CLI-USAGE nightshift: No such command 'chek'. Did you mean 'check'"),
        (["check", "--jsn"], "E-CLI-USAGE nightshift check: No such option: --jsn"),
        (["run", "x"], "E-CLI-USAGE nightshift run: Missing option '--from'"),
        (["up", "--airflow-port", "0"], "E-CLI-USAGE nightshift up: Invalid value for '--airflow-port'"),
    ],
)
def test_wrong_use_is_one_line_with_exit_code_2(arguments: list[str], line: str) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith(line)
    assert len(result.stderr.splitlines()) == 1


def test_no_arguments_show_the_commands() -> None:
    result = CliRunner().invoke(app, [])
    assert result.exit_code == 0
    for command in ("run", "retrain", "status", "explain", "quarantine", "rollback", "retract", "check", "doctor"):
        assert command in result.stdout


def _modules_after(code: str, **variables: str) -> set[str]:
    script = f"import sys\n{code}\nprint('\\n' + ' '.join(sorted(sys.modules)))"
    environment = os.environ | variables
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    return set(done.stdout.splitlines()[-1].split())


_HEAVY = {"airflow", "great_expectations", "evidently", "mlflow", "sklearn", "xgboost", "torch", "pandas", "matplotlib"}


def test_help_imports_neither_steps_nor_settings() -> None:
    call = "from pipelines.cli import app\ntry: app(['--help'])\nexcept SystemExit: pass"
    assert not _modules_after(call) & (_HEAVY | {"pyarrow", "sqlalchemy", "pipelines.settings", "pydantic"})


def test_check_imports_only_what_judges_parameters() -> None:
    """XGBoost and scikit-learn, which bring pandas and SciPy, say whether they take the parameters of a model."""
    call = "from pipelines.cli import app\ntry: app(['check'])\nexcept SystemExit: pass"
    found = _modules_after(call)
    assert "pipelines.settings.pipeline" in found
    judges = {"xgboost", "sklearn", "pandas", "scipy"}
    assert not found & ((_HEAVY | {"ibis", "duckdb", "deltalake"}) - judges)


# -- doctor -----------------------------------------------------------------------------------------------------------


def test_doctor_names_a_variable_that_is_not_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = good().replace("inbox/", "${ORDERS_DATA}/${NIGHTSHIFT_HOME}/")
    home = Home(tmp_path / "home", config_folder(tmp_path, orders=text))
    monkeypatch.delenv("ORDERS_DATA", raising=False)
    assert _unset_variables(home) == {"ORDERS_DATA": ["orders"]}
    monkeypatch.setenv("ORDERS_DATA", "/data")
    assert _unset_variables(home) == {}


def test_doctor_sees_a_port_in_use() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert _port("MLflow", port).state == "warn"
    assert _port("MLflow", port).state == "ok"


def test_doctor_fails_where_the_home_cannot_be(tmp_path: Path) -> None:
    config = config_folder(tmp_path, orders=good())
    (tmp_path / "file").write_text("in the way")
    states = {finding.name: finding.state for finding in examine(Home(tmp_path / "file", config), imports=False)}
    assert states["home"] == "fail"
    assert states["Python"] == "ok"
    assert states["configuration"] == "fail"  # configs/features holds a broken group


@pytest.mark.parametrize(
    ("distribution", "module"),
    [
        ("apache-airflow", "airflow"),
        ("apache-airflow-providers-common-sql", "airflow.providers.common.sql"),
        ("pillow", "PIL"),
        ("psycopg2-binary", "psycopg2"),
        ("PyYAML", "yaml"),
        ("duckdb", "duckdb"),
    ],
)
def test_doctor_knows_what_a_library_is_called_in_code(distribution: str, module: str) -> None:
    assert _module(distribution) == module


def test_doctor_names_the_library_that_killed_the_import() -> None:
    """K9 of the fault catalogue: an import may raise, or take the whole process with it."""
    output = "try sklearn\nbad sklearn ImportError no module\ntry xgboost\n"
    names = {"sklearn": "scikit-learn", "xgboost": "xgboost-cpu"}
    assert _read_import_errors(output, -11, names) == {
        "scikit-learn": "ImportError no module",
        "xgboost-cpu": "the process ended with -11 while importing it",
    }
    assert _read_import_errors("try sklearn\ntry xgboost\n", 0, names) == {}


def test_a_cluster_does_not_keep_its_tables_in_a_folder_of_one_machine(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"E-CLUSTER-STORAGE /data: .*'s3://bucket/"):
        cluster(Home(tmp_path / "home", tmp_path), [], storage="/data")
    assert not (tmp_path / "home").exists()
