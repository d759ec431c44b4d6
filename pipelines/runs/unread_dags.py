"""Why a DAG is not there, in one line: its file could not be read, and Airflow keeps the traceback."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from pipelines.errors import NightshiftError
from pipelines.home import REPOSITORY

_PLACE = re.compile(r'^\s*File "([^"<]+)", line (\d+)', re.MULTILINE)
_OURS = re.compile(r"^[\w.]+: (E-[A-Z0-9]+-[A-Z0-9]+ )")
_LONGEST = 500


def absent_dag(dag_id: str, import_errors: Mapping[str, str]) -> NightshiftError:
    """E-RUN-DAG with the exception and its line.

    Args:
        dag_id: `<pipeline>__<family>`, which `dags/<family>.py` builds.
        import_errors: Airflow's traceback for each DAG file that it could not read, by the file's path.
    """
    family = dag_id.rpartition("__")[2]
    mine = [text for path, text in import_errors.items() if Path(path).stem == family] or [*import_errors.values()]
    if not mine:
        return NightshiftError("E-RUN-DAG", dag_id, "there is no such DAG", "See 'nightshift check'.")
    what = f"the file of this DAG could not be read: {_reason(mine[-1])}"
    return NightshiftError("E-RUN-DAG", dag_id, what, "Nothing was run. Repair that first.")


def _reason(traceback: str) -> str:
    """The exception with the line that raised it; an error of ours as it is, for it names its own place."""
    lines = traceback.rstrip().splitlines()
    last_frame = max((number for number, line in enumerate(lines) if line.startswith(" ")), default=-1)
    said = " ".join(line.strip() for line in lines[last_frame + 1 :] or lines[-1:])[:_LONGEST].rstrip(".")
    places = _PLACE.findall(traceback)
    if _OURS.match(said):
        return said.partition(": ")[2]
    return f"{said} ({_shown(places[-1][0])}:{places[-1][1]})" if places else said


def _shown(path: str) -> str:
    """From the checkout on where the file lies in it."""
    return Path(path).relative_to(REPOSITORY).as_posix() if Path(path).is_relative_to(REPOSITORY) else path
