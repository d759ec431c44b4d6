"""`nightshift notify` prints what a night's message says, and who took it; `history` tells what people answered."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines import approvals
from tests.unit.test_cli_commands import Place, one_line
from tests.unit.test_settings_problems import good

TOLD = good() + "notify: {to: [slack_default, hook_ops]}\n"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example.com")
    found = Place(tmp_path, orders=TOLD)
    found.account("2026-03-02", 10, 9, 1, 0)
    return found


def test_the_message_of_a_night_is_printed_with_who_took_it(place: Place) -> None:
    key = ("orders", "2026-03-02", "night clean", "hook_ops")
    place.ledger.record_notification(*key, title="t", run_id="r")
    shown = place.call("notify", "orders", "--partition", "2026-03-02").stdout
    assert shown.startswith("orders 2026-03-02: accepted, no scores\n")
    assert "rows: 10 read = 9 clean + 1 quarantined + 0 duplicate" in shown
    assert "Partition 2026-03-02: https://airflow.example.com/nightshift/partition/orders/2026-03-02" in shown
    assert "connection slack_default did not take it yet" in shown
    assert "connection hook_ops took it on " in shown


def test_the_message_is_printed_as_a_connection_gets_it(place: Place) -> None:
    def printed(form: str) -> str:
        return place.call("notify", "orders", "--partition", "2026-03-02", "--as", form, "--dry-run").stdout

    assert json.loads(printed("json"))["kind"] == "night"
    assert json.loads(printed("slack"))["blocks"][0]["type"] == "header"
    assert printed("html").startswith("<!doctype html>")


def test_a_night_that_never_was_is_an_error(place: Place) -> None:
    result = place.call("notify", "orders", "--partition", "2026-03-04")
    assert result.exit_code == 2
    assert one_line(result).startswith("E-NOTIFY-PARTITION orders: nothing ran for partition '2026-03-04' yet.")


def test_history_tells_of_a_question_although_the_champion_stayed(place: Place) -> None:
    answered = {"by": "ann", "answered_at": "2026-03-03T06:00:00+00:00", "risks": ["a narrow gain"]}
    approvals.record(place.ledger, "orders", "2026-03-02", "r", 2, approvals.NO, answered)
    shown = " ".join(place.call("history", "orders").stdout.split())
    assert (
        "approval 2026-03-02: v2 NO refused by ann at 2026-03-03 06:00 UTC: the champion stays "
        "(asked because a narrow gain)"
    ) in shown
    (found,) = json.loads(place.call("history", "orders", "--json").stdout)["approvals"]
    assert (found["outcome"], found["by"]) == ("NO", "ann")
