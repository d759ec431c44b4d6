"""Two runs of the same day at the same time, as two backfills or a backfill and the schedule make them (FAULTS E1)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines.ledger import Ledger
from tests.faults.chain import PIPELINE
from tests.faults.world import World, is_balanced

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("is_together", [True, False], ids=["each-step-on-a-barrier", "as-it-comes"])
def test_two_runs_of_one_day_leave_what_one_leaves(world: World, tmp_path: Path, is_together: bool) -> None:
    """Only a conflict that is worth a retry may end one of them, and its retry then finds the work done."""
    world.restore("ingest")
    shared = {"CHAIN_BARRIER": str(tmp_path)} if is_together else {}
    runs = {name: world.start("daily", world.last, CHAIN_RUN=name, **shared) for name in ("-first", "-second")}
    for name, child in runs.items():
        code, errors = child.wait()
        if code:
            assert "E-PUB-CONFLICT" in errors, errors[-3000:]
            world.finish("daily", world.last, CHAIN_RUN=name)
    found, expected = world.facts(), world.expected["monitor"]
    assert _without_decisions(found) == _without_decisions(expected)
    assert set(found["decisions"]) == set(expected["decisions"])  # both runs write down the same ones
    assert is_balanced(found)
    assert _generations(world) == {"raw": 1, "duplicates": 1, "clean": 1, "features": 1, "predictions": 1}


def _without_decisions(found: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if name != "decisions"}


def _generations(world: World) -> dict[str, int]:
    """How often each table of the day was published."""
    book = Ledger(world.home.ledger_url)
    return {
        table: row["generation"]
        for table in ("raw", "duplicates", "clean", "features", "predictions")
        for row in book.publications(PIPELINE, table, [world.last])
    }
