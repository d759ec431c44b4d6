"""What `nightshift run` says when the file of a DAG could not be read, from tracebacks as Airflow keeps them."""

from __future__ import annotations

from pipelines.home import REPOSITORY
from pipelines.runs.unread_dags import absent_dag

BROKEN_IMPORT = f"""Traceback (most recent call last):
  File "<frozen importlib._bootstrap>", line 241, in _call_with_frames_removed
  File "{REPOSITORY}/dags/daily.py", line 9, in <module>
    from nightshift_notify import Notify
  File "{REPOSITORY}/plugins/nightshift_notify.py", line 20, in <module>
    import croniterr
ModuleNotFoundError: No module named 'croniterr'
"""
TWO_LINES = """Traceback (most recent call last):
  File "/elsewhere/dags/retrain.py", line 93, in <module>
    raise ValueError(text)
ValueError: 'owner' must be a name,
got 3.
"""
OURS = """Traceback (most recent call last):
  File "/elsewhere/dags/settings_errors.py", line 10, in <module>
    raise ConfigError(
pipelines.errors.ConfigError: E-CONFIG-PIPELINE config/pipelines: 1 pipeline(s) have no DAGs.
"""


def test_the_reason_is_that_of_the_dags_own_file_with_its_line() -> None:
    """Airflow lists what it could not read in any order; the last one may be of another DAG."""
    assert str(absent_dag("cards__daily", {"daily.py": BROKEN_IMPORT, "retrain.py": TWO_LINES})) == (
        "E-RUN-DAG cards__daily: the file of this DAG could not be read: ModuleNotFoundError: No module named "
        "'croniterr' (plugins/nightshift_notify.py:20). Nothing was run. Repair that first."
    )


def test_a_reason_of_several_lines_is_told_whole_and_in_one() -> None:
    told = str(absent_dag("cards__retrain", {"daily.py": BROKEN_IMPORT, "retrain.py": TWO_LINES}))
    assert "read: ValueError: 'owner' must be a name, got 3 (/elsewhere/dags/retrain.py:93). Nothing" in told


def test_an_error_of_ours_names_its_own_place() -> None:
    told = str(absent_dag("cards__daily", {"settings_errors.py": OURS}))
    assert "read: E-CONFIG-PIPELINE config/pipelines: 1 pipeline(s) have no DAGs. Nothing was run." in told


def test_a_dag_that_nobody_builds_is_said_to_be_none() -> None:
    assert str(absent_dag("cards__other", {})) == (
        "E-RUN-DAG cards__other: there is no such DAG. See 'nightshift check'."
    )
