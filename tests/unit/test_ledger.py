"""Every promise of the ledger, on SQLite and on a real PostgreSQL server."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from pipelines.errors import ConfigError
from pipelines.ledger import Ledger
from pipelines.ledger.database import open_ledger
from pipelines.ledger.schema import notifications, schema_version
from tests.builders import utc

AT_ONCE = 8


@pytest.fixture
def book(ledger_url: str) -> Ledger:
    return Ledger(ledger_url)


def at_once(url: str, work: Callable[[Ledger, int], Any]) -> list[Any]:
    """What 8 writers get who start together, each with connections of its own."""
    barrier = Barrier(AT_ONCE, timeout=60)  # one that fails before it must not leave the others waiting for ever

    def start(number: int) -> Any:
        book = Ledger(url)
        barrier.wait()
        return work(book, number)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(start, range(AT_ONCE)))


def publish(book: Ledger, partition: str = "2026-03-01", **changes: Any) -> int:
    """Records a publication; returns its generation."""
    values = {"run_id": "r", "delta_version": 1, "input_digest": "i", "content_digest": "c", "row_count": 1}
    return int(book.record_publication("p", "clean", partition, **(values | {"facts": {}} | changes))["generation"])


def crown(book: Ledger, version: int, expected: int, since: str = "2026-03-01") -> bool:
    return book.change_champion(
        "p",
        version,
        expected_seq=expected,
        effective_from=utc(since),
        action="promote",
        reason="gain",
        actor="gate",
        run_id="r",
    )


def test_champion_change_needs_the_newest_seq(book: Ledger) -> None:
    assert crown(book, 1, expected=0)
    assert not crown(book, 2, expected=0)
    assert crown(book, 3, expected=1)
    assert [row["version"] for row in book.champions("p")] == [1, 3]


def test_racing_promotions_have_one_winner(ledger_url: str) -> None:
    won = at_once(ledger_url, lambda book, number: crown(book, number, expected=0))
    assert sorted(won) == [False] * 7 + [True]
    assert [row["version"] for row in Ledger(ledger_url).champions("p")] == [won.index(True)]


def test_a_promotion_whose_answer_was_lost_is_still_won(book: Ledger) -> None:
    """Repeated after a commit without an answer it must not take its own row for another's."""
    assert [crown(book, 7, expected=0), crown(book, 7, expected=0), crown(book, 8, expected=0)] == [True, True, False]
    assert len(book.champions("p")) == 1


def test_champion_of_a_past_day_is_the_one_of_that_day(book: Ledger) -> None:
    crown(book, 1, 0, "2026-03-05")
    crown(book, 2, 1, "2026-03-09")
    in_force: list[Any] = [
        book.champion("p", utc(day)) for day in ("2026-03-04", "2026-03-05", "2026-03-08", "2026-03-09")
    ]
    assert [row and row["version"] for row in in_force] == [None, 1, 1, 2]


def test_rollback_at_the_same_moment_wins_by_order(book: Ledger) -> None:
    crown(book, 1, 0, "2026-03-05")
    crown(book, 2, 1, "2026-03-09")
    crown(book, 1, 2, "2026-03-09")
    newest = book.champion("p", utc("2026-03-09"))
    assert newest is not None
    assert newest["version"] == 1


def test_retry_of_a_training_run_keeps_its_version(book: Ledger) -> None:
    values: dict[str, Any] = {
        "as_of": utc("2026-03-05"),
        "mlflow_run_id": None,
        "artifact_uri": "a",
        "artifact_sha256": "s",
        "record": {},
    }
    assert [book.record_model("p", run_id=run, **values) for run in ("r1", "r2", "r1")] == [1, 2, 1]


def test_second_release_supersedes_and_retraction_keeps_history(book: Ledger) -> None:
    values: dict[str, Any] = {"model_version": 1, "row_count": 3, "path": "x", "is_hindsight": False, "run_id": "r"}
    assert book.record_release("p", "2026-03-01", release_id="one", digest="1", **values) == 1
    assert book.record_release("p", "2026-03-01", release_id="one", digest="1", **values) == 1
    assert book.record_release("p", "2026-03-01", release_id="two", digest="2", **values) == 2
    assert book.retract_release("p", "2026-03-01", "wrong labels")
    assert not book.retract_release("p", "2026-03-01", "again")
    assert [row["state"] for row in book.releases("p")] == ["superseded", "retracted"]


def test_publications_give_the_newest_generation(book: Ledger) -> None:
    for digest in ("one", "two"):
        for partition in ("2026-03-02", "2026-03-01"):
            book.record_publication(
                "p",
                "clean",
                partition,
                run_id="r",
                delta_version=1,
                input_digest=digest,
                content_digest=digest,
                row_count=1,
                facts={},
            )
    newest = book.publications("p", "clean")
    assert [(row["partition"], row["generation"], row["input_digest"]) for row in newest] == [
        ("2026-03-01", 2, "two"),
        ("2026-03-02", 2, "two"),
    ]


def test_a_publication_recorded_twice_is_one_generation(book: Ledger) -> None:
    """The commit is the same, so the answer to the first record was lost; a later commit is the next generation."""
    assert [publish(book), publish(book, delta_version=2), publish(book), publish(book, delta_version=3)] == [
        1,
        2,
        1,
        3,
    ]


def test_publications_at_once_get_a_generation_each(ledger_url: str) -> None:
    found = at_once(ledger_url, lambda book, number: publish(book, delta_version=number))
    assert sorted(found) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_attempts_at_once_get_a_row_each(ledger_url: str) -> None:
    """Shards of one step begin within the same microsecond when the clock is coarse; they are told apart by shard."""
    ids = at_once(
        ledger_url, lambda book, number: book.start_attempt("p", "2026-03-01", "score", "r", "c", {"shard": number})
    )
    assert len(set(ids)) == 8
    assert [row["summary"]["shard"] for row in Ledger(ledger_url).attempts("p")] == [
        ids.index(one) for one in sorted(ids)
    ]


def test_models_and_releases_at_once_get_a_number_each(ledger_url: str) -> None:
    model: dict[str, Any] = {"mlflow_run_id": None, "artifact_uri": "a", "artifact_sha256": "s", "record": {}}
    release: dict[str, Any] = {"model_version": 1, "row_count": 3, "path": "x", "is_hindsight": False, "digest": "d"}

    def work(book: Ledger, number: int) -> tuple[int, int]:
        version = book.record_model("p", run_id=f"r{number}", as_of=utc("2026-03-05"), **model)
        return version, book.record_release("p", "2026-03-01", release_id=f"{number}", run_id="r", **release)

    found = at_once(ledger_url, work)
    assert sorted(version for version, _ in found) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert sorted(number for _, number in found) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [row["state"] for row in Ledger(ledger_url).releases("p")] == ["superseded"] * 7 + ["released"]


def test_accounting_at_once_is_one_whole_row(ledger_url: str) -> None:
    """Delete and insert of two writers must not meet: afterwards there is one row, with the numbers of one of them."""

    def work(book: Ledger, number: int) -> None:
        rows = {"read": number, "clean": number, "quarantined": 0, "duplicate": 0, "reason": None}
        book.set_accounting("p", "2026-03-01", state="clean", run_id=f"r{number}", **rows)
        book.record_input("p", "2026-03-01", "a.csv", "same content", 10, 3)

    at_once(ledger_url, work)
    book = Ledger(ledger_url)
    (row,) = book.accounting("p")
    assert (row["run_id"], row["clean"]) == (f"r{row['read']}", row["read"])
    assert len(book.inputs("p")) == 1


def test_a_ledger_is_created_by_many_at_once(ledger_url: str) -> None:
    assert at_once(ledger_url, lambda book, _number: book.pipelines()) == [[]] * 8


def test_a_ledger_of_an_earlier_release_gets_the_tables_that_came_since(ledger_url: str) -> None:
    """And keeps what it holds."""
    key = ("cards", "2026-03-02", "night", "slack")
    Ledger(ledger_url).start_attempt("cards", "2026-03-02", "ingest", "r", "c")
    with open_ledger(ledger_url).begin() as connection:
        notifications.drop(connection)
    book = Ledger(ledger_url)
    for run_id in ("first", "again"):
        book.record_notification(*key, title="t", run_id=run_id)
    assert [row["run_id"] for row in book.notifications("cards")] == ["first"]
    assert book.notified(*key[:3]) == {"slack"}
    assert len(book.attempts("cards")) == 1


def test_a_ledger_of_a_newer_version_is_refused(ledger_url: str) -> None:
    Ledger(ledger_url)
    with open_ledger(ledger_url).begin() as connection:
        connection.execute(schema_version.insert().values(version=99))
    with pytest.raises(ConfigError, match=r"E-DB-VERSION .* must be of version 1, got 99"):
        Ledger(ledger_url)


def test_values_come_back_as_they_were(book: Ledger) -> None:
    """Numbers beyond 32 bits and 2^53, no length limits, moments in UTC to the microsecond, what JSON cannot say."""
    summary = {"rows": 10**17 + 1, "share": 0.1 + 0.2, "none": None, "words": ["Zoë 🌙", "a\x00b"], "empty": {}}
    attempt = book.start_attempt("p" * 300, "2026-03-01", "train", "r" * 400, "c", summary)
    book.end_attempt(attempt, "failed", summary | {"bound": math.nan}, "E-X: NUL \x00, surrogate \udc80", 2**31 - 1)
    (row,) = book.attempts("p" * 300)
    assert math.isnan(row["summary"].pop("bound"))
    assert (row["summary"], row["run_id"]) == (summary, "r" * 400)
    assert row["error"] == "E-X: NUL \\x00, surrogate \\udc80"

    moment = datetime(2026, 3, 29, 3, 30, 0, 123456, tzinfo=timezone(timedelta(hours=2)))
    book.record_model(
        "p", run_id="r", as_of=moment, mlflow_run_id=None, artifact_uri="a", artifact_sha256="s", record={}
    )
    as_of = book.model("p", 1)["as_of"]
    assert (as_of.isoformat(), as_of.tzinfo) == ("2026-03-29T01:30:00.123456+00:00", UTC)
    assert publish(book, row_count=5 * 10**12, delta_version=2**40) == 1
    publication = book.publication("p", "clean", "2026-03-01")
    assert publication is not None
    assert (publication["row_count"], publication["delta_version"]) == (5 * 10**12, 2**40)
    assert publication["facts"] == {}


def test_names_are_ordered_by_code_points(book: Ledger) -> None:
    """A server's locale may sort 'ab' before 'a_c' and put capitals beside small letters."""
    for name in ("b", "ab", "a_c", "B"):
        book.start_attempt(name, "2026-03-01", "ingest", "r", "c")
    assert book.pipelines() == ["B", "a_c", "ab", "b"]


def test_newest_attempts_are_those_of_one_pipeline_by_step(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    for pipeline, step, run in (("a", "score", "1"), ("b", "score", "2"), ("a", "score", "3"), ("a", "replay", "4")):
        ledger.start_attempt(pipeline, "2026-03-01", step, run, "c", {"run": run})
    ledger.start_attempt("a", "2026-02-01", "score", "5", "c")
    found = ledger.newest_attempts("a", ["score", "replay", "tune"], 2)
    assert {step: [row["run_id"] for row in rows] for step, rows in found.items()} == {
        "score": ["5", "3"],
        "replay": ["4"],
        "tune": [],
    }
    assert found["replay"][0]["summary"] == {"run": "4"}
