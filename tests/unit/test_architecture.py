"""Who may import whom, said out loud: config -> settings -> steps -> runs -> dags."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from pipelines.home import REPOSITORY
from pipelines.runs.steps import STEPS

PRODUCT = sorted((REPOSITORY / "pipelines").rglob("*.py"))
DAGS = sorted((REPOSITORY / "dags").glob("*.py"))


def imported(file: Path) -> set[str]:
    """Full names of everything that `file` imports: `a.b` and, for `from a.b import c`, also `a.b.c`."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def test_there_is_something_to_look_at() -> None:
    assert len(PRODUCT) > 20
    assert len(DAGS) >= 4


@pytest.mark.parametrize("file", PRODUCT, ids=lambda file: str(file.relative_to(REPOSITORY)))
def test_the_product_never_imports_airflow(file: Path) -> None:
    assert not {name for name in imported(file) if name.split(".")[0] == "airflow"}


@pytest.mark.parametrize("file", DAGS, ids=lambda file: file.stem)
def test_dag_files_import_neither_each_other_nor_steps(file: Path) -> None:
    """Inside a task function a DAG file may call pipelines.maintenance; steps are reached by name only."""
    allowed = {"pipelines.settings", "pipelines.errors", "pipelines.maintenance"}
    others = {name for name in imported(file) if name.split(".")[0] == "pipelines"}
    assert {name for name in others if ".".join(name.split(".")[:2]) not in allowed} == set()
    assert not {name for name in imported(file) if name in {other.stem for other in DAGS} or name.startswith("dags")}


@pytest.mark.parametrize("file", PRODUCT, ids=lambda file: str(file.relative_to(REPOSITORY)))
def test_private_names_stay_in_their_module(file: Path) -> None:
    private = {name for name in imported(file) if name.startswith("pipelines.") and "._" in name and ".__" not in name}
    assert private == set()


@pytest.mark.parametrize("file", PRODUCT, ids=lambda file: str(file.relative_to(REPOSITORY)))
def test_steps_do_not_know_runs_or_commands(file: Path) -> None:
    """Only the commands, the demo and the launcher stand above the steps."""
    above = {"runs", "cli", "demo", "launch", "servers"}
    here = file.relative_to(REPOSITORY / "pipelines").parts[0]
    if here in above:
        return
    found = {name for name in imported(file) if name.startswith("pipelines.") and name.split(".")[1] in above}
    # The type of a summary, which each step returns, is the one word they share.
    assert {name for name in found if not name.startswith("pipelines.runs.step")} == set()


def test_every_step_has_a_module() -> None:
    modules = {place.partition(":")[0] for place in STEPS.values()}
    places = {module: REPOSITORY / module.replace(".", "/") for module in modules}
    assert [name for name, path in places.items() if not (path.with_suffix(".py").exists() or path.is_dir())] == []
