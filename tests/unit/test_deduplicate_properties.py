"""Whatever rows arrive in whatever order: the balance holds, and a plain loop comes to the same survivors."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.context import Context
from pipelines.deduplicate import deduplicate
from tests.validating import accepted, accounting, context, raw, read

DAYS = ("2026-03-01", "2026-03-02")
RULES = {"latest_by": ["is_fraud"], "lookback_partitions": 1}
# Few values, so that keys, contents and orders collide often; '' and null must not be taken for each other.
ROW = st.fixed_dictionaries(
    {
        "payment_id": st.sampled_from(["", "a", "b", "c", "d"]),
        "country": st.sampled_from([None, "", "DE"]),
        "is_fraud": st.sampled_from([None, 0, 1]),
        "is_bad": st.sampled_from([False, False, False, True]),
    }
)
ROWS = st.lists(ROW, min_size=1, max_size=40)


def prepared(run: Context, rows: list[dict[str, Any]], order: list[int]) -> list[dict[str, Any]]:
    """Publishes the rows in `order` as accepted; returns those that are not quarantined, with ids, in file order."""
    start = run.partition.start.replace(day=1) + timedelta(hours=1)
    full = [
        {
            "row_id": f"{run.key}:{number:03}",
            "source_line": number,
            "paid_at": start,
            "amount_eur": 1.0,
            **{name: row[name] for name in ("payment_id", "country", "is_fraud")},
        }
        for number, row in enumerate([{"payment_id": "own", "country": None, "is_fraud": 0, "is_bad": False}, *rows])
    ]
    bad = {item["row_id"] for item, row in zip(full[1:], rows, strict=True) if row["is_bad"]}
    accepted(run, raw(run, full).take(order), sorted(bad))
    return [item for item in full if item["row_id"] not in bad]


def rank(row: dict[str, Any]) -> tuple[Any, ...]:
    """Smallest survives: latest first, null last, then the earlier partition, then the lowest id."""
    value = row["is_fraud"]
    return (value is None, -(value or 0), row["row_id"])


def survivors(rows: list[dict[str, Any]], before: list[dict[str, Any]], by_key: bool) -> dict[str, str]:
    """row id -> id of the row that stays for it, by the plainest loop."""
    names = ["payment_id"] if by_key else ["payment_id", "country", "is_fraud"]
    groups: dict[Any, list[dict[str, Any]]] = {}
    for row in [*before, *rows]:
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    return {row["row_id"]: min(groups[tuple(row[name] for name in names)], key=rank)["row_id"] for row in rows}


@pytest.mark.slow
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(first=ROWS, second=ROWS, by_key=st.booleans(), order=st.randoms(use_true_random=False))
def test_survivors_are_those_of_a_plain_loop_in_any_order(first: Any, second: Any, by_key: bool, order: Any) -> None:
    before: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for day, rows in zip(DAYS, (first, second), strict=True):
            run = context(Path(folder), partition=day, deduplicate={**RULES, "by_key": by_key})
            positions = list(range(len(rows) + 1))
            order.shuffle(positions)
            full = prepared(run, rows, positions)
            summary = deduplicate(run)
            expected = survivors(full, before, by_key)
            clean = [row["row_id"] for row in read(run, "clean")]
            assert clean == [row_id for row_id, kept in sorted(expected.items()) if kept == row_id]
            losers = read(run, "duplicates", ["kept_row_id", "reason"])
            assert {row["row_id"]: row["kept_row_id"] for row in losers} == {
                row_id: kept for row_id, kept in expected.items() if kept != row_id
            }
            content = {row["row_id"]: (row["payment_id"], row["country"], row["is_fraud"]) for row in [*full, *before]}
            assert all(
                (content[row["row_id"]] == content[row["kept_row_id"]]) == (row["reason"] == "exact") for row in losers
            )
            state, total, kept, quarantined, duplicate = accounting(run)
            assert (state, total) == ("clean", len(rows) + 1)
            assert total == kept + quarantined + duplicate
            assert deduplicate(run) == {**summary, "state": "unchanged"}
            before = [row for row in full if row["row_id"] in clean]
