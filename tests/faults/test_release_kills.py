"""A process that is killed, stopped or refused while it releases: the retry gives the bytes of an undisturbed run."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines.errors import StorageError
from pipelines.home import REPOSITORY
from pipelines.release import retract
from pipelines.storage.durable import require_writable
from pipelines.verify import verify
from tests.builders import context
from tests.scoring import Stub, again, champion, features, file_digests, run_all, use_models

OLD, NEW = [10.0, 20.0, 30.0], [11.0, 21.0, 31.0, 41.0]
POINTS = [
    "score.mid",
    "export.after_data",
    "export.after_manifest",
    "predictions.before_commit",
    "predictions.after_commit",
    "export.after_pointer",
]
RETRACT_POINTS = ["retract.after_pointer", "predictions.before_commit", "predictions.after_commit"]


def child(run, *arguments: str, point: str | None = None) -> subprocess.Popen:
    environment = {**os.environ, "NIGHTSHIFT_FAILPOINT": point or "", "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", "tests.faults.release_child", str(run.home.root), *arguments]
    return subprocess.Popen(command, env=environment, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def killed_at(run, point: str, *arguments: str) -> None:
    process = child(run, *arguments, point=f"{point}=kill")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL, errors.decode()[-2000:]


def readable(run) -> list[float]:
    """The scores that a consumer reads now."""
    files = sorted((run.home.root / "exports" / run.name).glob(f"partition={run.key}/*.parquet"))
    return [score for path in files for score in pq.ParquetFile(path).read()["score"].to_pylist()]


def scores_of(amounts: list[float]) -> list[float]:
    """By row id, which runs against the order of the amounts."""
    return [amount / 100 for amount in reversed(amounts)]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """One release of the old features is readable; the new features are published."""
    use_models(monkeypatch, Stub(1))
    run = context(tmp_path / "home", partition="2026-03-05")
    champion(run)
    features(run, OLD)
    run_all(run)
    features(run, NEW)
    return run


@pytest.fixture
def undisturbed(run, tmp_path):
    """Digests of exports and of `predictions` after a new run that nothing disturbed, over a copy of the home."""
    shutil.copytree(run.home.root, tmp_path / "copy", symlinks=True)
    copy = context(tmp_path / "copy", partition="2026-03-05", run_id="run-2")
    run_all(copy)
    return file_digests(copy.home.root / "exports"), content(copy)


def content(run) -> str:
    return run.ledger.publication(run.name, "predictions", run.key)["content_digest"]


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_a_kill_then_a_retry_gives_the_undisturbed_bytes(run, undisturbed, point):
    killed_at(run, point, "run-2")
    assert readable(run) == scores_of(NEW if point == "export.after_pointer" else OLD)
    run_all(again(run, "run-2"))
    leftovers = {name for name in file_digests(run.home.root / "exports") if ".writing" in name}
    sound = {name: value for name, value in file_digests(run.home.root / "exports").items() if name not in leftovers}
    assert (sound, content(run)) == undisturbed
    assert verify(run)["problems"] == []
    assert run_all(again(run, "run-2"))["state"] == "unchanged"
    assert [row["state"] for row in run.ledger.releases(run.name)] == ["superseded", "released"]


@pytest.mark.slow
@pytest.mark.parametrize("point", RETRACT_POINTS)
def test_a_killed_retraction_is_finished_by_the_next(run, point):
    killed_at(run, point, "run-2", "retract")
    assert readable(run) == []
    retract(again(run, "run-3"), "wrong", "ann")
    assert run.ledger.releases(run.name)[-1]["state"] == "retracted"
    assert verify(run)["problems"] == []


@pytest.mark.slow
def test_a_retraction_knows_a_release_that_was_killed_before_it_was_recorded(run):
    killed_at(run, "export.after_pointer", "run-2")
    retract(run, "wrong", "ann")
    assert readable(run) == []
    assert [row["state"] for row in run.ledger.releases(run.name)] == ["superseded", "retracted"]
    assert run_all(again(run, "run-2"))["state"] == "skipped"


@pytest.mark.slow
def test_a_zombie_that_wakes_after_a_newer_release_is_fenced(run):
    """FAULTS A5: stopped after its data, overtaken by a run with other features, then continued."""
    zombie = child(run, "zombie", point="export.after_data=stop")
    os.waitpid(zombie.pid, os.WUNTRACED)
    features(run, [55.0, 66.0])
    run_all(again(run, "run-3"))
    before = file_digests(run.home.root / "exports" / run.name / "partition=2026-03-05"), content(run)
    os.kill(zombie.pid, signal.SIGCONT)
    _, errors = zombie.communicate(timeout=120)
    assert zombie.returncode == 1
    assert "E-PUB-FENCED" in errors.decode()
    assert (file_digests(run.home.root / "exports" / run.name / "partition=2026-03-05"), content(run)) == before
    assert readable(run) == [0.66, 0.55]
    assert verify(run)["problems"] == []


@pytest.mark.slow
def test_a_reader_that_polls_sees_only_whole_releases(run):
    """Twelve switches between two releases while another process reads; a torn read would mix row counts or scores."""
    allowed = {tuple(scores_of(OLD)), tuple(scores_of(NEW))}
    process = child(run, "run-2")
    seen: dict[tuple[float, ...], int] = {}
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        scores = tuple(readable(run))
        seen[scores] = seen.get(scores, 0) + 1
        time.sleep(0.002)
    assert process.wait() == 0
    exports, releases = run.exports, run.ledger.releases(run.name)
    reader = subprocess.Popen(
        [sys.executable, "-c", POLL, str(run.home.root / "exports" / run.name)], stdout=subprocess.PIPE, text=True
    )
    assert reader.stdout.readline() == "ready\n"
    for number in range(200):
        assert exports.point(exports.seen(run.key), releases[number % 2]["release_id"])
        time.sleep(0.002)
    reader.terminate()
    *lines, _ = reader.stdout.read().split("\n")  # the end of the reader may have cut the last one short
    polled = {tuple(map(float, line.split())) for line in lines}
    assert set(seen) <= allowed
    assert polled == allowed


POLL = """
import sys, pyarrow.parquet as pq
folder = sys.argv[1] + "/partition=2026-03-05"
print("ready", flush=True)
while True:
    scores = pq.ParquetFile(folder + "/part-00000.parquet").read()["score"].to_pylist()
    print(*scores, flush=True)
"""


def test_a_failing_disk_leaves_the_old_release(run, monkeypatch):
    """FAULTS B5: fsync returns EIO. Nothing counts as written; the next attempt works."""

    def fail(_descriptor):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("pipelines.storage.durable.os.fsync", fail)
    with pytest.raises(OSError, match="Input/output error"):
        run_all(again(run, "run-2"))
    monkeypatch.undo()
    assert readable(run) == scores_of(OLD)


def test_a_full_disk_is_named_and_leaves_the_old_release(run, monkeypatch):
    def fail(*_arguments, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pipelines.storage.parquet_files.pq.ParquetWriter", fail)
    with pytest.raises(StorageError, match=r"E-IO-NOSPACE .*No space left on device"):
        run_all(again(run, "run-2"))
    assert readable(run) == scores_of(OLD)


def test_a_read_only_target_is_named_before_any_work(tmp_path):
    """FAULTS B4. Root may write anywhere, so the folder is made immutable where the file system can do that."""
    folder = Path(tmp_path / "exports")
    folder.mkdir()
    if shutil.which("chattr") is None or subprocess.run(["chattr", "+i", str(folder)], capture_output=True).returncode:
        pytest.skip("chattr +i is not available here")
    try:
        with pytest.raises(StorageError, match=rf"E-IO-READONLY {folder}: user '\w+' must be able to write here"):
            require_writable(folder)
    finally:
        subprocess.run(["chattr", "-i", str(folder)], check=True)
