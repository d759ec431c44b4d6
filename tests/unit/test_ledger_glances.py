"""Bounded reads for pages, on SQLite and on PostgreSQL: each within its span, and nothing of other pipelines."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.ledger import Ledger
from pipelines.ledger.database import open_ledger
from tests.builders import utc

DAYS = ("2026-03-01", "2026-03-02", "2026-03-03")
STEPS = ("ingest", "release")
SPANS = {"alpha": ("2026-03-02", "2026-03-03"), "beta": ("2026-03-03", "2026-03-03")}


@pytest.fixture
def book(ledger_url: str) -> Ledger:
    """Three nights of two pipelines. Of alpha the second one failed first, then went well; version 1 was promoted."""
    ledger = Ledger(ledger_url)
    for name in ("alpha", "beta"):
        for day in DAYS:
            _night(ledger, name, day)
    failed = ledger.start_attempt("alpha", "2026-03-02", "ingest", "r0", "c")
    ledger.end_attempt(failed, "failed", None, "E-IO no file", 1)
    ledger.end_attempt(ledger.start_attempt("alpha", "2026-03-02", "ingest", "r1", "c"), "done", None, None, 1)
    ledger.end_attempt(ledger.start_attempt("alpha", "2026-03-03", "train", "t1", "c"), "done", None, None, 1)
    made: dict[str, Any] = {"as_of": utc("2026-03-03"), "mlflow_run_id": None, "artifact_uri": "m", "record": {"a": 1}}
    ledger.record_model("alpha", run_id="t1", artifact_sha256="0", **made)
    said: dict[str, Any] = {"outcome": "PROMOTE", "model_version": 1, "reasons": ["better"], "numbers": {"n": 1}}
    ledger.record_decision("alpha", "gate", "2026-03-03", run_id="t1", **said)
    change: dict[str, Any] = {"action": "promote", "reason": "better", "actor": "gate", "run_id": "t1"}
    ledger.change_champion("alpha", 1, expected_seq=0, effective_from=utc("2026-03-04"), **change)
    return ledger


def _night(ledger: Ledger, name: str, day: str) -> None:
    ledger.end_attempt(ledger.start_attempt(name, day, "ingest", f"n{day}", "c"), "done", {"rows": 2}, None, 1)
    counts = {"read": 2, "clean": 2, "quarantined": 0, "duplicate": 0}
    ledger.set_accounting(name, day, state="clean", reason=None, run_id="n", **counts)
    digests = {"input_digest": "i", "content_digest": f"{name} {day}"}
    ledger.record_publication(name, "clean", day, run_id="n", delta_version=1, row_count=2, facts={"x": 1}, **digests)
    values: dict[str, Any] = {"release_id": f"{name}{day}", "digest": "d", "path": "p", "is_hindsight": False}
    ledger.record_release(name, day, model_version=1, row_count=2, run_id="n", **values)
    said: dict[str, Any] = {"outcome": "OK", "model_version": 1, "reasons": [], "numbers": {"n": 1}}
    ledger.record_decision(name, "drift", day, run_id="n", **said)


def _places(rows: list[Any]) -> list[tuple[str, str]]:
    return [(row["pipeline"], row["partition"]) for row in rows]


WITHIN = [("alpha", "2026-03-02"), ("alpha", "2026-03-03"), ("beta", "2026-03-03")]


def test_reads_keep_to_their_spans(book: Ledger) -> None:
    assert sorted(_places(book.accounting_within(SPANS))) == WITHIN
    assert sorted(_places(book.releases_within(SPANS))) == WITHIN
    assert sorted(_places(book.decisions_within(SPANS, ["drift"]))) == WITHIN
    assert sorted(_places(book.published_within(SPANS, ["clean"]))) == WITHIN
    assert _places(book.attempts_within(SPANS, ["train"])) == [("alpha", "2026-03-03")]
    assert book.accounting_within({}) == []


def test_columns_that_are_not_asked_for_stay_away(book: Ledger) -> None:
    assert "numbers" not in book.decisions_within(SPANS, ["gate"], numbers=False)[0]
    assert book.decisions_within(SPANS, ["gate"])[0]["numbers"] == {"n": 1}
    assert book.decisions_within(SPANS, ["gate"], is_raw=True)[0]["numbers"] == '{"n": 1}'
    assert "facts" not in book.published_within(SPANS, ["clean"])[0]
    assert book.published_within(SPANS, ["clean"], facts=True)[0]["facts"] == '{"x": 1}'
    assert "record" not in book.versions("alpha", 5)[0]


def test_attempts_are_counted_and_those_that_stopped_with_them(book: Ledger) -> None:
    counts = {(row["pipeline"], row["partition"]): row["attempts"] for row in book.attempt_counts_within(SPANS, STEPS)}
    assert counts == {WITHIN[0]: 3, WITHIN[1]: 1, WITHIN[2]: 1}
    assert all(row["ended"] >= row["began"] for row in book.attempt_counts_within(SPANS, STEPS))
    unfinished = [row["partition"] for row in book.attempt_counts_within(SPANS, STEPS) if row["unfinished"]]
    assert unfinished == ["2026-03-02"]
    assert [row["step"] for row in book.newest_attempts_within(SPANS, ["train", "ingest"])] == ["train", "ingest"]


def test_newest_of_everything(book: Ledger) -> None:
    assert book.pipelines() == ["alpha", "beta"]
    assert book.newest_firsts(["alpha", "beta"], 2) == {"alpha": "2026-03-02", "beta": "2026-03-02"}
    assert book.newest_firsts(["alpha"], 4) == {}  # it has three
    assert book.partition_keys("alpha", STEPS, newest=2) == ["2026-03-03", "2026-03-02"]
    assert book.partition_keys("alpha", STEPS, last="2026-03-02") == ["2026-03-02", "2026-03-01"]
    assert book.partition_counts() == {"alpha": 3, "beta": 3}
    assert (book.first_partition("alpha"), book.first_partition("gamma")) == ("2026-03-01", None)
    assert {name: row["version"] for name, row in book.newest_champions(["alpha", "beta"]).items()} == {"alpha": 1}
    assert [row["partition"] for row in book.newest_decisions("alpha", ["drift"], 2)] == ["2026-03-03", "2026-03-02"]
    assert book.newest_decisions("alpha", ["drift"], without=[("drift", "OK")]) == []
    assert book.gate_outcomes("alpha", 1, 9) == {1: "PROMOTE"}


def test_what_belongs_to_a_run(book: Ledger) -> None:
    assert [row["step"] for row in book.of_run("alpha", "t1")] == ["train"]
    assert (book.version_of_run("alpha", "t1"), book.version_of_run("alpha", "r1")) == (1, None)
    assert [row["run_id"] for row in book.newest_runs("alpha", ["train"], 3)] == ["t1"]


def test_who_reads_waits_for_no_writer(book: Ledger) -> None:
    with open_ledger(book.url).begin():  # a writer of SQLite holds the whole file
        assert book.pipelines() == ["alpha", "beta"]
