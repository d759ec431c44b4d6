"""kill -9 at every named point and at any time, then the same step again: the same digests and bytes as without.

The retry is what Airflow does: the killed step runs again with the same run id, the steps before it do not.
"""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

from tests.faults.chain import PIPELINE
from tests.faults.forks import Child
from tests.faults.world import World, is_balanced

pytestmark = pytest.mark.slow


def _commits(*tables: str) -> tuple[str, ...]:
    return tuple(f"{table}.{moment}" for table in tables for moment in ("before_commit", "after_commit"))


POINTS = {
    "ingest": (
        "ingest.after_claim",
        "ingest.mid_copy",
        "ingest.after_stage",
        *_commits("dimension_cards", "labels_chargebacks", "quarantine/ingest", "raw"),
    ),
    "validate": ("validate.mid", *_commits("quarantine/validate"), "quarantine.after_write"),
    "deduplicate": (*_commits("duplicates"), "dedup.mid", *_commits("clean")),
    "build_features": ("features.mid", *_commits("features")),
    "score": ("score.mid",),
    "release": ("export.after_data", "export.after_manifest", *_commits("predictions"), "export.after_pointer"),
    "monitor": ("drift.mid",),
    "train": ("train.round_n", "train.after_fit", "registry.after_upload", "registry.after_create"),
    "promote": ("promote.before_cas", "promote.after_cas"),
}


def test_fault_free_day_has_all_kinds_of_rows(world: World) -> None:
    expected = world.expected["monitor"]
    last = expected["accounting"][-1]
    assert last["partition"] == world.last
    assert last["quarantined"] >= 9
    assert last["duplicate"] >= 15
    assert [row[0] for row in expected["releases"]] == [world.last]
    assert expected["champions"]
    assert is_balanced(expected)


@pytest.mark.parametrize(("step", "point"), [(step, point) for step, points in POINTS.items() for point in points])
def test_step_after_kill_equals_step_without(world: World, step: str, point: str) -> None:
    world.restore(step)
    arguments = ("step", step, world.partition_of(step))
    assert world.killed_at(point, *arguments) == -signal.SIGKILL, f"'{point}' was never reached"
    world.finish(*arguments)
    assert world.facts() == world.expected[step]


@pytest.mark.parametrize("seed", [1, 2])
def test_day_killed_twice_at_any_time_equals_day_without(world: World, seed: int) -> None:
    """Named points miss things: the moments are drawn over the time that the whole day takes."""
    world.restore("ingest")
    chance = random.Random(seed)
    for _ in range(2):
        child = world.start("daily", world.last)
        time.sleep(chance.uniform(0.05, 0.9) * world.seconds)
        child.send(signal.SIGKILL)
        assert child.wait()[0] in (-signal.SIGKILL, 0)  # 0: the second attempt has less to do and may be done
    world.finish("daily", world.last)
    assert world.facts() == world.expected["monitor"]


def test_stopped_attempt_that_wakes_after_its_retry_changes_nothing(world: World) -> None:
    """FAULTS A5 with the same inputs: it finds its work done by the retry."""
    world.restore("deduplicate")
    zombie = _stopped(world)
    world.finish("daily", world.last)
    code, errors = _woken(zombie)
    assert code == 0, errors
    assert world.facts() == world.expected["monitor"]


def test_stopped_attempt_that_wakes_after_a_correction_is_fenced(world: World) -> None:
    """FAULTS A5 with a corrected file in between: the older rows must not come back."""
    world.restore("deduplicate")
    zombie = _stopped(world)
    world.deliver_correction()
    world.finish("daily", world.last)
    corrected = world.facts()
    code, errors = _woken(zombie)
    assert code == 1
    assert f"E-PUB-FENCED {PIPELINE}." in errors
    assert world.facts() == corrected != world.expected["monitor"]
    assert is_balanced(corrected)


def _stopped(world: World) -> Child:
    child = world.start("step", "deduplicate", world.last, failpoint="clean.before_commit=stop")
    while child.state() != "T":
        assert child.state() != "Z", "'clean.before_commit' was never reached"
        time.sleep(0.05)
    return child


def _woken(zombie: Child) -> tuple[int, str]:
    zombie.send(signal.SIGCONT)
    return zombie.wait()


def test_finished_day_again_changes_no_byte(world: World) -> None:
    world.restore("end")
    folders = [Path(world.home.root / "tables"), world.home.root / "exports" / PIPELINE]
    before = {path: path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()}
    world.finish("daily", world.last)
    after = {path: path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()}
    assert before
    assert after == before
