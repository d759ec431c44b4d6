"""What `nightshift run` says at its end: whether something is to be repaired, and what to do then."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines import approvals
from pipelines.cli.progress import Progress
from pipelines.ledger import Ledger
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


def test_a_retrain_that_waits_for_a_person_says_until_when_and_where_to_answer(tmp_path: Path, capsys) -> None:
    """Nobody can answer a run without a server, and its gate's PROMOTE has promoted nothing."""
    home = builders.home(tmp_path)
    ledger, key = Ledger(home.ledger_url), ("payments", "gate", "2026-03-01")
    ledger.record_decision(*key, run_id="r", outcome="PROMOTE", model_version=2, reasons=["better"], numbers={})
    until = {"until": "2026-03-03T05:30:00+00:00"}
    approvals.record(ledger, "payments", "2026-03-01", "r", 2, approvals.WAITING, until)
    event = {"event": "run", "dag_id": "payments__retrain", "partition": "2026-03-01", "run_id": "r", "seconds": 1.0}
    with Progress(home, "payments", 1) as progress:
        progress.on_event(event | {"state": "awaiting_input"})
    assert (
        "retrain   WAITING  v2  waits for a person until 2026-03-03 05:30 UTC; without an answer the champion stays. "
        "To answer: nightshift up, then Browse > Required Actions."
    ) in capsys.readouterr().out
