"""kill -9 while a night is scored in shadow, judged and its challenger promoted, then the same again: as without."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipelines.home import REPOSITORY
from pipelines.shadows import TABLE
from pipelines.training import shadow
from tests.model.conftest import empty_mlflow  # noqa: F401 - a fixture
from tests.model.shadowed import NIGHTS, challenger, night, opened

pytestmark = pytest.mark.slow
POINTS = (
    "shadow.scored",
    f"{TABLE}.after_commit",
    "shadow.before_cas",
    "shadow.after_cas",
)


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory, empty_mlflow: Path) -> tuple[Path, Path]:  # noqa: F811
    """A home before the last night's shadow, which scores, judges and promotes; and a copy of it."""
    folder = tmp_path_factory.mktemp("kills")
    run = challenger(folder / "home", empty_mlflow)
    shadow(night(run, NIGHTS[0]))
    night(run, NIGHTS[1], seed=6)
    shutil.copytree(folder / "home", folder / "saved", symlinks=True)
    return folder / "home", folder / "saved"


def child(home: Path, failpoint: str = "") -> int:
    """The exit code of a process that does the last night's shadow."""
    environment = os.environ | {"NIGHTSHIFT_FAILPOINT": failpoint, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", "tests.model.shadow_child", str(home), NIGHTS[1]]
    return subprocess.run(command, env=environment, cwd=REPOSITORY, capture_output=True, check=False).returncode


def restored(before: tuple[Path, Path]) -> Path:
    home, saved = before
    shutil.rmtree(home)
    shutil.copytree(saved, home, symlinks=True)
    return home


def facts(home: Path) -> dict[str, Any]:
    run = opened(home)
    return {
        "rows": run.snapshot(TABLE).read(NIGHTS).sort_by("row_id").to_pylist(),
        "digests": {row["partition"]: row["content_digest"] for row in run.ledger.publications(run.name, TABLE)},
        "decisions": [
            (row["partition"], row["outcome"], row["reasons"], row["numbers"])
            for row in run.ledger.decisions(run.name, "shadow")
        ],
        "champions": [
            (row["seq"], row["version"], row["effective_from"], row["reason"]) for row in run.ledger.champions(run.name)
        ],
        "releases": [(row["release_id"], row["state"]) for row in run.ledger.releases(run.name)],
    }


@pytest.fixture(scope="module")
def expected(before: tuple[Path, Path]) -> dict[str, Any]:
    home = restored(before)
    assert child(home) == 0
    found = facts(home)
    assert [row[1] for row in found["decisions"]] == ["START", "PROMOTE"]
    assert [row[1] for row in found["champions"]] == [1, 2]
    return found


@pytest.mark.parametrize("point", POINTS)
def test_a_killed_shadow_goes_on_to_the_same_end(
    before: tuple[Path, Path], expected: dict[str, Any], point: str
) -> None:
    home = restored(before)
    assert child(home, f"{point}=kill") == -signal.SIGKILL, f"'{point}' was never reached"
    assert child(home) == 0
    assert facts(home) == expected
