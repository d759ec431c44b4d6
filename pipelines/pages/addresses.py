"""Where each page lies on Airflow's server; the one place that knows."""

from __future__ import annotations

from urllib.parse import quote, urlencode

PREFIX = "/nightshift"


def overview() -> str:
    return f"{PREFIX}/"


def pipeline(name: str, **chosen: str | int | None) -> str:
    """`chosen`: what of it is shown (`until`, `kind`, `before`, `upto`); None leaves one out."""
    given = {key: value for key, value in chosen.items() if value is not None}
    query = f"?{urlencode(given)}" if given else ""
    return f"{PREFIX}/pipeline/{quote(name, safe='')}{query}"


def partition(name: str, key: str) -> str:
    return f"{PREFIX}/partition/{quote(name, safe='')}/{quote(key, safe='')}"


def version(name: str, number: int) -> str:
    return f"{PREFIX}/version/{quote(name, safe='')}/{number}"


def compare(name: str, left: int | None = None, right: int | None = None) -> str:
    chosen = {side: number for side, number in (("left", left), ("right", right)) if number is not None}
    query = f"?{urlencode(chosen)}" if chosen else ""
    return f"{PREFIX}/compare/{quote(name, safe='')}{query}"


def scorecard(name: str) -> str:
    return f"{PREFIX}/scorecard/{quote(name, safe='')}"


def action(name: str, action: str, **given: str) -> str:
    """The page that says what a button would start, and starts it."""
    return f"{PREFIX}/actions/{quote(name, safe='')}/{action}" + (f"?{urlencode(given)}" if given else "")


def report(path: str) -> str:
    """A file below the reports folder."""
    return f"{PREFIX}/reports/{quote(path)}"


def airflow_dag(dag_id: str) -> str:
    return f"/dags/{quote(dag_id, safe='')}"


def airflow_run(dag_id: str, run_id: str) -> str:
    return f"/dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}"
