"""The message of a night: what is news, what stayed, what to do; each expected line was worked out by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from pipelines.notify.night import Night, night_message
from pipelines.notify.safe import Safe

SAFE = Safe(["ingest", "amount"])
ROW: dict[str, Any] = {
    "partition": "2026-03-03",
    "state": "released",
    "read": 1000,
    "clean": 980,
    "quarantined": 10,
    "duplicate": 10,
    "scored": 980,
    "release_id": "r3",
    "release_reason": None,
    "model": 1,
    "is_hindsight": False,
    "drift": "OK",
    "drift_reasons": [],
    "accounting_reason": None,
    "step": None,
    "error": None,
    "repaired": None,
    "is_stale": False,
}
CHAMPION = {
    "version": 1,
    "effective_from": datetime(2026, 3, 1, tzinfo=UTC),
    "action": "promote",
    "reason": "better",
    "actor": "gate",
}
ROWS = "rows: 1,000 read = 980 clean + 10 quarantined + 10 duplicate"
QUARANTINE = "quarantine: 10 of 1,000 rows (1.0%)"
KEPT = "champion: version 1, since 2026-03-01"


def night(before: dict[str, Any] | None = None, **changes: Any) -> Night:
    """A quiet night after one that was alike; `before` changes the night before, the rest tonight or the Night."""
    own = {name: changes.pop(name) for name in list(changes) if name in ROW}
    earlier = ROW | {"partition": "2026-03-02", "release_id": "r2"} | (before or {})
    return Night("cards", ROW | own, earlier, **{"champion": CHAMPION, **changes})


def test_a_quiet_night_has_its_release_as_the_only_news() -> None:
    message = night_message(night(), SAFE, "http://airflow/")
    assert message.title == "cards 2026-03-03: released"
    assert message.changed == ("released: 980 rows, scored by version 1",)
    assert message.same == (KEPT, "drift: OK", QUARANTINE, ROWS)
    assert (message.todo, message.mood, message.topic) == ((), "good", "night released r3")
    assert [link.url for link in message.links] == [
        "http://airflow/nightshift/partition/cards/2026-03-03",
        "http://airflow/nightshift/pipeline/cards",
    ]


DECIDED: dict[str, Any] = {"model_version": 2, "numbers": {}}


@pytest.mark.parametrize(
    ("given", "news"),
    [
        pytest.param(
            {"drift": "WATCH", "drift_reasons": ["SHIFT 'amount' moved."]},
            "drift: WATCH, it was OK: SHIFT 'amount' moved.",
            id="drift changed",
        ),
        pytest.param({"before": {"drift": "RETRAIN"}}, "drift: OK, it was RETRAIN", id="drift is over"),
        pytest.param(
            {"quarantined": 30, "clean": 960},
            "quarantine: 30 of 1,000 rows (3.0%), 1.0% the night before",
            id="quarantine jumped",
        ),
        pytest.param(
            {"read": 400, "clean": 386, "quarantined": 4},
            "rows: 400 read = 386 clean + 4 quarantined + 10 duplicate; 1,000 the night before",
            id="fewer than half of the rows",
        ),
        pytest.param(
            {"promotions": [CHAMPION | {"version": 2, "actor": "gate, approved by ann"}]},
            "version 2 is the champion since this night, by gate, approved by ann: better",
            id="new champion",
        ),
        pytest.param(
            {"promotions": [CHAMPION | {"action": "rollback", "actor": "bob", "reason": "bad scores"}]},
            "version 1 was put back since this night, by bob: bad scores",
            id="rollback",
        ),
        pytest.param(
            {"gates": [DECIDED | {"kind": "gate", "outcome": "HOLD", "reasons": ["too few rows", "and more"]}]},
            "version 2 was held back by the gate: too few rows",
            id="held back, with the first reason",
        ),
        pytest.param(
            {"shadows": [DECIDED | {"kind": "shadow", "outcome": "DROP", "reasons": ["worse"]}]},
            "version 2 in shadow, DROP: worse",
            id="shadow dropped",
        ),
        pytest.param(
            {"waiting": DECIDED | {"kind": "approval", "outcome": "WAITING", "reasons": ["waits for a person"]}},
            "version 2 waits for a person",
            id="approval waiting",
        ),
    ],
)
def test_what_differs_from_the_night_before_comes_first(given: dict[str, Any], news: str) -> None:
    message = night_message(night(**given), SAFE, "http://airflow")
    assert news in message.changed
    assert news not in message.same


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"quarantined": 19, "clean": 971}, id="not twice the share"),
        pytest.param({"quarantined": 2, "clean": 988, "before": {"quarantined": 0, "clean": 990}}, id="two rows"),
        pytest.param({"read": 501, "clean": 486, "quarantined": 5}, id="just above half of the rows"),
        pytest.param({"before": {"state": "clean"}, "drift": None, "drift_reasons": []}, id="no drift known"),
    ],
)
def test_what_hardly_differs_is_no_news(given: dict[str, Any]) -> None:
    assert len(night_message(night(**given), SAFE, "http://airflow").changed) == 1


def test_a_refused_night_says_why_and_what_to_do() -> None:
    error = "E-SCHEMA-MISSING cards 2026-03-03 f.csv: column 'amount' is missing (undeclared: 'amt'). Fix the file."
    given = {"state": "refused", "step": "ingest", "error": error, "release_id": None, "model": None, "drift": None}
    message = night_message(night(**given, read=0), SAFE, "http://airflow")
    assert message.title == "cards 2026-03-03: refused"
    assert message.mood == "bad"
    assert message.changed == (
        "refused at ingest: column 'amount' is missing (undeclared: … (E-SCHEMA-MISSING) (the night before: released)",
    )
    assert message.todo == (
        "repair the input and clear task 'ingest' of the run, "
        "or: nightshift run cards --from 2026-03-03 --to 2026-03-03",
    )
    assert message.same == (KEPT,)


def test_a_night_that_was_repaired_is_another_message_than_the_failed_one() -> None:
    failed = night_message(
        night(state="failed", step="ingest", error="E-IO-X a: b.", release_id=None), SAFE, "http://a"
    )
    repaired = night_message(night(repaired="E-IO-X a: b."), SAFE, "http://a")
    assert "it had stopped before and went well now" in repaired.changed[0]
    assert failed.id != repaired.id


def test_the_title_names_what_must_not_be_missed() -> None:
    given = {
        "drift": "RETRAIN",
        "promotions": [CHAMPION | {"version": 2}],
        "waiting": DECIDED | {"kind": "approval", "outcome": "WAITING", "reasons": ["waits"]},
    }
    message = night_message(night(**given), SAFE, "http://airflow")
    assert message.title == (
        "cards 2026-03-03: released, new champion v2, drift asks for a retrain, an approval is waited for"
    )
    assert [link.text for link in message.links] == ["Partition 2026-03-03", "Version 2", "Pipeline cards"]


def test_the_first_night_of_all_has_nothing_to_differ_from() -> None:
    first = Night("cards", ROW | {"state": "clean", "release_id": None, "model": None})
    message = night_message(first, SAFE, "http://airflow")
    assert message.changed == ("accepted, no scores",)
    assert message.same == ("there is no champion yet, so nothing is scored", "drift: OK", QUARANTINE, ROWS)
