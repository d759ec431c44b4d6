"""A training that was killed goes on from its last checkpoint and ends with the model of the uninterrupted one."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.home import REPOSITORY
from pipelines.models import xgboost_fitting
from pipelines.models.checkpoints import Checkpoints
from pipelines.storage.files import LocalFiles
from tests.model.fit_child import fitted

CPU_KINDS = ["xgboost", "torch", "ensemble"]
KILLS = int(os.environ.get("NIGHTSHIFT_TEST_KILLS", "2"))


class Died(Exception):
    """Stands for the end of the process right after a checkpoint."""


class Mortal(Checkpoints):
    """Dies after every save; how often it saved and died in all is in `deaths`."""

    deaths = 0

    def at(self, *parts: str) -> Mortal:
        return Mortal(self.files.at(*parts), self.keep, self.notes)

    def save(self, number: int, content: bytes, is_best: bool = False) -> None:
        super().save(number, content, is_best)
        Mortal.deaths += 1
        raise Died


@pytest.fixture(scope="module")
def uninterrupted() -> dict[str, str]:
    return {kind: fitted(kind, None) for kind in CPU_KINDS}


def start(kind: str, folder: Path, **environment: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.model.fit_child", kind, str(folder / "checkpoints"), str(folder / "result")],
        cwd=REPOSITORY,
        env={**os.environ, **environment},
        stderr=subprocess.PIPE,
    )


@pytest.mark.parametrize("kind", CPU_KINDS)
def test_dying_after_every_single_checkpoint_changes_no_byte(
    tmp_path: Path, kind: str, uninterrupted: dict[str, str]
) -> None:
    """With sampled rows and columns, in the search for the number of rounds as in the fit on all rows."""
    Mortal.deaths = 0
    mortal = Mortal(LocalFiles(tmp_path))
    for _ in range(50):
        try:
            sha256 = fitted(kind, mortal)
            break
        except Died:
            continue
    assert Mortal.deaths >= 5
    assert sha256 == uninterrupted[kind]


@pytest.mark.parametrize("kind", CPU_KINDS)
def test_killed_after_its_first_checkpoint_it_ends_with_the_same_bytes(
    tmp_path: Path, kind: str, uninterrupted: dict[str, str]
) -> None:
    once = {"NIGHTSHIFT_FAILPOINT": "train.after_checkpoint=kill", "NIGHTSHIFT_FAILPOINT_ONCE": str(tmp_path / "once")}
    assert start(kind, tmp_path, **once).wait() == -signal.SIGKILL
    assert list((tmp_path / "checkpoints").rglob("*.bin"))
    assert start(kind, tmp_path, **once).wait() == 0
    assert (tmp_path / "result").read_text() == uninterrupted[kind]


@pytest.mark.slow
@pytest.mark.parametrize("kind", CPU_KINDS)
def test_killed_at_random_moments_it_ends_with_the_same_bytes(
    tmp_path: Path, kind: str, uninterrupted: dict[str, str]
) -> None:
    chance = random.Random(20260101)
    kills = 0
    while kills < KILLS:
        child = start(kind, tmp_path)
        _until_it_trains(child, tmp_path / "checkpoints", kills)
        time.sleep(chance.uniform(0, 0.3))
        child.kill()
        kills += child.wait() == -signal.SIGKILL
        if (tmp_path / "result").exists():
            break
    assert kills
    if not (tmp_path / "result").exists():
        assert start(kind, tmp_path).wait() == 0
    assert (tmp_path / "result").read_text() == uninterrupted[kind]


def _until_it_trains(child: subprocess.Popen[bytes], folder: Path, kills: int) -> None:
    """Imports take seconds; a checkpoint newer than the start says that they are over (after the first kill: any)."""
    started = time.time()
    deadline = time.monotonic() + 60
    while child.poll() is None and time.monotonic() < deadline:
        if any(path.stat().st_mtime > started for path in folder.rglob("*.bin")):
            return
        time.sleep(0.01)
    assert time.monotonic() < deadline, f"no checkpoint after {kills} kills"


def test_a_search_that_was_done_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = Checkpoints(LocalFiles(tmp_path))
    first = fitted("xgboost", checkpoints)
    rounds: list[int] = []
    real = xgboost_fitting._loss
    monkeypatch.setattr(xgboost_fitting, "_loss", lambda *given: rounds.append(given[2]) or real(*given))
    assert fitted("xgboost", checkpoints) == first
    assert rounds == []


@pytest.mark.parametrize(
    "damage", [lambda content: content[:100], lambda content: content[:-1] + b"\x00"], ids=["cut", "one byte changed"]
)
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(tmp_path: Path, damage) -> None:  # type: ignore[no-untyped-def]
    checkpoints = Checkpoints(LocalFiles(tmp_path))
    checkpoints.save(1, b"one" * 100)
    checkpoints.save(2, b"two" * 100)
    newest = next(tmp_path.glob("00000002-*.bin"))
    newest.write_bytes(damage(newest.read_bytes()))
    assert checkpoints.latest() == b"one" * 100
    place = tmp_path.name
    assert checkpoints.notes == [
        f"checkpoint {place} 2 is damaged and was passed over",
        f"went on from checkpoint {place} 1",
    ]


@pytest.mark.parametrize("kind", CPU_KINDS)
def test_a_training_with_damaged_checkpoints_alone_begins_anew(
    tmp_path: Path, kind: str, uninterrupted: dict[str, str]
) -> None:
    fitted(kind, Checkpoints(LocalFiles(tmp_path)))
    found = list(tmp_path.rglob("*.bin"))
    assert found
    for path in found:
        path.write_bytes(path.read_bytes()[:50])
    assert fitted(kind, Checkpoints(LocalFiles(tmp_path))) == uninterrupted[kind]


def test_two_checkpoints_are_kept_and_none_after_clearing(tmp_path: Path) -> None:
    checkpoints = Checkpoints(LocalFiles(tmp_path))
    assert checkpoints.at("final").latest() is None
    for number in (1, 2, 3):
        checkpoints.at("final").save(number, b"%d" % number)
    assert [path.name[:8] for path in sorted((tmp_path / "final").iterdir())] == ["00000002", "00000003"]
    assert checkpoints.at("final").latest() == b"3"
    assert checkpoints.latest() is None
    checkpoints.clear()
    assert list(tmp_path.rglob("*.bin")) == []


def kept(folder: Path) -> list[int]:
    return sorted(int(path.name[:8]) for path in folder.glob("*.bin"))


def test_the_last_ones_and_the_best_one_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(LocalFiles(tmp_path), keep=3)
    for number, is_best in ((5, True), (10, True), (15, False), (20, False), (25, False), (30, False)):
        checkpoints.save(number, b"%d" % number, is_best)
    assert kept(tmp_path) == [10, 20, 25, 30]
    checkpoints.save(35, b"35", is_best=True)
    assert kept(tmp_path) == [25, 30, 35]
    for path in tmp_path.glob("*.bin"):
        path.write_bytes(b"")
    assert checkpoints.latest() is None


def test_the_best_one_is_gone_on_from_when_all_later_ones_are_damaged(tmp_path: Path) -> None:
    checkpoints = Checkpoints(LocalFiles(tmp_path), keep=2)
    for number, is_best in ((5, True), (10, False), (15, False), (20, False)):
        checkpoints.save(number, b"%d" % number, is_best)
    for path in tmp_path.glob("000000[12]*.bin"):
        path.write_bytes(b"")
    assert checkpoints.latest() == b"5"


@pytest.mark.parametrize("kind", ["xgboost", "torch"])
def test_a_training_keeps_the_best_of_its_search_and_goes_on_from_it_alone(
    tmp_path: Path, kind: str, uninterrupted: dict[str, str]
) -> None:
    """Killed at the end of the search, with every checkpoint but the best one damaged."""
    fitted(kind, Checkpoints(LocalFiles(tmp_path), keep=1))
    shutil.rmtree(tmp_path / "final")
    (best,) = (tmp_path / "search").glob("*-best.bin")
    for path in (tmp_path / "search").glob("*.bin"):
        if path != best:
            path.write_bytes(b"")
    again = Checkpoints(LocalFiles(tmp_path), keep=1)
    assert fitted(kind, again) == uninterrupted[kind]
    assert again.notes[-1] == f"went on from checkpoint search {int(best.name[:8])}"


def test_a_start_from_the_beginning_outdates_later_numbers(tmp_path: Path) -> None:
    """The newest were damaged: what is reached again must not be hidden behind them."""
    checkpoints = Checkpoints(LocalFiles(tmp_path))
    for number in (7, 14):
        checkpoints.save(number, b"%d" % number)
    for path in tmp_path.glob("*.bin"):
        path.write_bytes(b"")
    checkpoints.save(3, b"3")
    assert checkpoints.latest() == b"3"
