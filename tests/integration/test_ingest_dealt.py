"""A snapshot without time, dealt out over the partitions of a pipeline's life."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pipelines.context import Context
from pipelines.ingest import ingest
from tests.builders import context, pipeline

DAYS = ["2026-03-01", "2026-03-02", "2026-03-03", "2026-03-04"]
COLUMNS = {"customer_id": {"type": "id"}, "tenure": {"type": "integer"}}
ROWS = [f"c{number},{number}" for number in range(60)]


def settings(**changes: Any) -> dict[str, Any]:
    source = {"format": "csv", "path": "inbox/customers.csv", "dealt": True, "missing": "skip", "columns": COLUMNS}
    given = {"source": source | changes.pop("source", {}), "start": DAYS[0], "end": DAYS[-1], "key": ["customer_id"]}
    features = {"features": {"columns": ["tenure"]}, "deduplicate": {}, "label": None, "training": None}
    return given | features | {"event_time": None} | changes


def deliver(root: Path, lines: list[str]) -> None:
    (root / "inbox").mkdir(exist_ok=True)
    (root / "inbox" / "customers.csv").write_text("\n".join(["customer_id,tenure", *lines]) + "\n")


def dealt(run: Context) -> dict[str, list[str]]:
    """Customers per day, as they were ingested."""
    found = {}
    for day in DAYS:
        here = replace(run, partition=run.pipeline.parse(day))
        ingest(here)
        found[day] = here.snapshot("raw").read([day])["customer_id"].to_pylist()
    return found


def test_each_row_stands_in_exactly_one_partition(tmp_path: Path) -> None:
    deliver(tmp_path, ROWS)
    found = dealt(context(tmp_path, **settings()))
    assert sorted(one for day in found.values() for one in day) == sorted(f"c{number}" for number in range(60))
    assert all(5 <= len(day) <= 30 for day in found.values()), "sixty rows over four days: about fifteen each"


def test_a_customer_stays_in_its_partition_when_others_come_and_the_order_changes(tmp_path: Path) -> None:
    deliver(tmp_path, ROWS)
    before = dealt(context(tmp_path, **settings()))
    deliver(tmp_path, ["new,1", *reversed(ROWS)])
    after = dealt(context(tmp_path, run_id="again", **settings()))
    assert {day: sorted(set(after[day]) - {"new"}) for day in DAYS} == {day: sorted(before[day]) for day in DAYS}


def test_copies_of_a_row_without_key_stand_together(tmp_path: Path) -> None:
    deliver(tmp_path, ["a,1", "a,2", *ROWS, "a,1", "a,1"])
    found = dealt(context(tmp_path, **settings(key=[])))
    assert sorted(day.count("a") for day in found.values() if "a" in day) in ([4], [1, 3])


def test_a_broken_line_is_read_once_and_quarantined(tmp_path: Path) -> None:
    deliver(tmp_path, ["c1,1,2,3", *ROWS, "c2,many"])
    run = context(tmp_path, **settings())
    summaries = [ingest(replace(run, partition=run.pipeline.parse(day))) for day in DAYS]
    assert sum(one["read"] for one in summaries) == 62
    assert sum(one["quarantined"] for one in summaries) == 2


def test_another_end_deals_anew(tmp_path: Path) -> None:
    deliver(tmp_path, ROWS)
    first = ingest(context(tmp_path, **settings()))
    shorter = ingest(context(tmp_path, run_id="again", **settings(end=DAYS[1])))
    assert shorter["state"] == "done"
    assert shorter["read"] > first["read"]


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        pytest.param({"end": None}, "'source.dealt' needs 'end'", id="nothing says over how many partitions"),
        pytest.param({"source": {"path": "inbox/{partition}.csv"}}, "'dealt' is for one file", id="one file per day"),
        pytest.param(
            {"source": {"columns": COLUMNS | {"at": {"type": "timestamp"}}}, "event_time": "at"},
            "'source.dealt' is for rows without time",
            id="rows have a time",
        ),
    ],
)
def test_what_cannot_be_dealt_is_refused(changes: dict[str, Any], what: str) -> None:
    with pytest.raises(ValidationError, match=what):
        pipeline(**settings(**changes))
