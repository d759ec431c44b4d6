"""kill -9 in the middle of a replay, and again: the same verdict, nothing published, nothing that stays for ever."""

from __future__ import annotations

import json
import random
import signal
import time
from typing import Any

import pytest

from pipelines.ledger import Ledger
from pipelines.maintenance import reap_attempts, sweep_staging
from tests.faults.chain import PIPELINE
from tests.faults.world import World
from tests.scoring import file_digests

pytestmark = pytest.mark.slow

SEEDS = (1, 2)


def told(world: World) -> dict[str, Any]:
    """What the last replay said, but for the time that it took."""
    found: dict[str, Any] = json.loads((world.home.root / "replay.json").read_text())
    return {name: value for name, value in found.items() if name != "seconds"}


def untouched(world: World) -> dict[str, Any]:
    """Rows, models, champions, decisions; every file of tables, models, exports, reports and MLflow."""
    folders = ("tables", "models", "exports", "reports", "mlflow")
    return {"facts": world.facts(), **{name: file_digests(world.home.root / name) for name in folders}}


def at_work(world: World) -> list[str]:
    """Files of replays, and folders of this machine's scratch."""
    replays = (world.home.root / "staging" / PIPELINE / "replays").rglob("*")
    return [str(path) for path in replays if path.is_file()] + [str(path) for path in world.home.scratch.iterdir()]


def test_a_killed_replay_that_is_repeated_says_the_same_and_leaves_nothing(world: World) -> None:
    """At a checkpoint, then at any time; the retry goes on with what the killed one staged, as Airflow's does."""
    world.restore("end")
    before, arguments = untouched(world), ("replay", world.last, "1")
    started = time.monotonic()
    world.finish(*arguments)
    seconds, expected = time.monotonic() - started, told(world)
    assert expected["verdict"] == "equal", expected["differences"]
    assert at_work(world) == []
    assert world.killed_at("train.round_n", *arguments) == -signal.SIGKILL
    assert at_work(world)
    for seed in SEEDS:
        child = world.start(*arguments)
        time.sleep(random.Random(seed).uniform(0.05, 0.9) * seconds)
        child.send(signal.SIGKILL)
        assert child.wait()[0] in (-signal.SIGKILL, 0)
    (world.home.root / "replay.json").unlink()
    world.finish(*arguments)
    assert told(world) == expected
    assert untouched(world) == before
    assert not list((world.home.root / "staging" / PIPELINE / "replays").rglob("*.*"))


def test_what_a_replay_leaves_that_nobody_repeats_is_cleared_by_maintenance(world: World) -> None:
    world.restore("end")
    before = untouched(world)
    assert world.killed_at("train.round_n", "replay", world.last, "1") == -signal.SIGKILL
    assert at_work(world)
    assert untouched(world) == before
    removed = sweep_staging(0, dry_run=False, home=world.home)
    assert [name for name in removed[PIPELINE] if name.startswith(f"staging/{PIPELINE}/replays/")]
    assert at_work(world) == []
    reap_attempts(0, world.home)
    last = Ledger(world.home.ledger_url).attempts(PIPELINE)[-1]
    assert (last["step"], last["state"], last["error"].split()[0]) == ("replay", "failed", "E-RUN-DEAD")
