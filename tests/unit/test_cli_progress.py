"""What `nightshift run` says at its end: whether something is to be repaired, and what to do then."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.cli.progress import Progress
from tests import builders

EMPTY = "E-IN-EMPTY payments 2026-03-01: '2026-03-01.csv' must hold records, but it has no bytes."


@pytest.mark.parametrize(
    ("keys", "waiting"),
    [(["2026-03-01"], ""), (["2026-03-01", "2026-03-02"], " (1 partition(s) not run)")],
    ids=["the last one was refused", "a later one waits"],
)
def test_a_refused_partition_asks_for_a_repair(tmp_path: Path, capsys, keys: list[str], waiting: str) -> None:
    refused = {"event": "run", "dag_id": "payments__daily", "partition": keys[0], "run_id": "r", "seconds": 1.0}
    with Progress(builders.home(tmp_path), "payments", len(keys)) as progress:
        progress.on_event(refused | {"state": "failed", "error": EMPTY})
        progress.summarise(keys)
    assert f"Next: repair what is named above, then run the same command again{waiting}\n" in capsys.readouterr().out
