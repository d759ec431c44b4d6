"""Servers that die in the middle of calls and come back: PostgreSQL, the S3 server, MLflow (FAULTS C2, D6, D7, D13)."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from pipelines.calls import breaker_of, counted
from pipelines.errors import ConfigError, StorageError
from pipelines.ingest import ingest, sql_source
from pipelines.ledger import Ledger, database, transactions
from pipelines.storage import s3
from pipelines.storage.files import open_files
from pipelines.training import mlflow_client, registry
from pipelines.training.promotion import reconcile_alias
from tests.builders import PAYMENTS, context, utc
from tests.object_store import ObjectStore
from tests.postgres import PostgresServer
from tests.postgres_proxy import LostCommits

pytestmark = pytest.mark.slow


def while_away(server: PostgresServer | ObjectStore, seconds: float, work: Callable[[], Any]) -> dict[str, Any]:
    """The summary of a step whose `work` begins when the server was just killed; it is started again after a while.

    Started from this thread: PostgreSQL ends with the thread that started it.
    """
    server.kill()
    with ThreadPoolExecutor(1) as pool:
        summary = pool.submit(counted, lambda: {"answer": work()})
        time.sleep(seconds)
        server.start()
        return summary.result(60)


# -- PostgreSQL: the ledger -----------------------------------------------------------------------------------------


def test_the_same_ledger_goes_on_after_a_crash_of_its_server(postgres: PostgresServer) -> None:
    """FAULTS D6: what was committed is there, what is written meanwhile waits, and the step says what it cost."""
    book = Ledger(postgres.fresh())
    first = book.start_attempt("p", "2026-03-01", "ingest", "r", "c")
    summary = while_away(postgres, 1.0, lambda: book.start_attempt("p", "2026-03-01", "validate", "r", "c"))
    assert summary["retries"]["ledger"] >= 2
    assert [row["id"] for row in book.attempts("p")] == [first, summary["answer"]]


def test_a_lock_is_waited_for_while_its_server_restarts(postgres: PostgresServer) -> None:
    book = Ledger(postgres.fresh())

    def work() -> str:
        with book.exclusive("day"):
            return "inside"

    summary = while_away(postgres, 0.5, work)
    assert (summary["answer"], summary["retries"]["ledger"] >= 1) == ("inside", True)


def test_a_ledger_that_stays_away_is_named_in_bounded_time(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAULTS D7: the error names host and database and no password; after two of them nobody waits any more."""
    url = postgres.fresh()
    monkeypatch.setattr(transactions, "LEDGER", replace(database.LEDGER, attempts=3))
    book = Ledger(url)
    postgres.kill()
    try:
        started = time.monotonic()
        for _ in range(2):
            with pytest.raises(
                StorageError, match=rf"E-DB-DOWN postgresql 127.0.0.1:.*/{make_url(url).database}"
            ) as no:
                book.set_accounting("p", "2026-03-01", state="clean")
            assert no.value.retryable
            assert postgres.launch.password not in str(no.value)
        assert 1 < time.monotonic() - started < 10
        started = time.monotonic()
        with pytest.raises(StorageError, match=r"E-DB-DOWN .* the ledger is down since .* was not tried"):
            book.pipelines()
        assert time.monotonic() - started < 0.5
    finally:
        postgres.start()
    breaker_of("ledger", database.place(make_url(url))).opened_at -= 30  # the pause has passed
    assert book.pipelines() == []


def test_nothing_is_published_without_the_ledger(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAULTS D7: the step fails; its retry finds the same file and publishes the same content as without the fault."""
    monkeypatch.setenv("NIGHTSHIFT_LEDGER_URL", postgres.fresh())
    monkeypatch.setattr(transactions, "LEDGER", replace(database.LEDGER, attempts=2))
    (tmp_path / "inbox").mkdir()
    line = "17,c,2026-03-01 10:00:00,12.5,NL,0\n"
    (tmp_path / "inbox" / "2026-03-01.csv").write_text(
        "payment_id,card_id,paid_at,amount_eur,country,is_fraud\n" + line
    )
    run = context(tmp_path)
    postgres.kill()
    try:
        with pytest.raises(StorageError, match="E-DB-DOWN"):
            ingest(run)
    finally:
        postgres.start()
    assert run.ledger.publication(run.name, "raw", run.key) is None
    assert ingest(run)["state"] == "done"
    assert ingest(run)["state"] == "unchanged"


def test_a_refused_log_in_is_final(postgres: PostgresServer) -> None:
    good = make_url(postgres.fresh())
    for wrong in (good.set(password="canary"), good.set(database="nowhere")):
        started = time.monotonic()
        with pytest.raises(ConfigError, match="E-DB-DENIED") as no:
            Ledger(wrong.render_as_string(hide_password=False))
        assert time.monotonic() - started < 5
        assert "canary" not in str(no.value)


PUBLICATION = {"delta_version": 3, "input_digest": "i", "content_digest": "c", "row_count": 1, "facts": {}}
MODEL = {"mlflow_run_id": None, "artifact_uri": "a", "artifact_sha256": "s", "record": {}}
CHANGE = {"effective_from": utc("2026-03-01"), "action": "promote", "reason": "gain", "actor": "gate"}
RELEASE = {"model_version": 1, "row_count": 3, "path": "x", "is_hindsight": False, "digest": "d"}
COUNTS = {"read": 1, "clean": 1, "quarantined": 0, "duplicate": 0, "reason": None}
DECISION = {"outcome": "PROMOTE", "model_version": 1, "reasons": ["gain"], "numbers": {}}
WRITES: dict[str, tuple[Callable[[Ledger], Any], Callable[[Ledger], Any], Any, Any]] = {
    # the write, what to read afterwards, the answer of the write, how much there is to read
    "attempt": (
        lambda book: book.start_attempt("p", "d", "ingest", "r", "c"),
        lambda book: len(book.attempts("p")),
        1,
        1,
    ),
    "publication": (
        lambda book: book.record_publication("p", "clean", "d", run_id="r", **PUBLICATION)["generation"],  # type: ignore[arg-type]
        lambda book: book.publication("p", "clean", "d")["generation"],  # type: ignore[index]
        1,
        1,
    ),
    "accounting": (
        lambda book: book.set_accounting("p", "d", state="clean", run_id="r", **COUNTS),
        lambda book: len(book.accounting("p")),
        None,
        1,
    ),
    "input": (
        lambda book: book.record_input("p", "d", "a.csv", "sha", 1, 1),
        lambda book: len(book.inputs("p")),
        None,
        1,
    ),
    "model": (
        lambda book: book.record_model("p", run_id="r", as_of=utc("2026-03-01"), **MODEL),  # type: ignore[arg-type]
        lambda book: len(book.models("p")),
        1,
        1,
    ),
    "decision": (
        lambda book: book.record_decision("p", "gate", "d", run_id="r", **DECISION),  # type: ignore[arg-type]
        lambda book: len(book.decisions("p")),
        None,
        1,
    ),
    "champion": (
        lambda book: book.change_champion("p", 1, expected_seq=0, run_id="r", **CHANGE),  # type: ignore[arg-type]
        lambda book: [row["seq"] for row in book.champions("p")],
        True,
        [1],
    ),
    "release": (
        lambda book: book.record_release("p", "d", release_id="one", run_id="r", **RELEASE),
        lambda book: [row["state"] for row in book.releases("p")],
        1,
        ["released"],
    ),
}


@pytest.mark.parametrize("write", WRITES)
def test_a_commit_whose_answer_is_lost_counts_once(postgres: PostgresServer, write: str) -> None:
    """FAULTS D6: the commit took place, the client learns of a broken connection and asks again."""
    url = make_url(postgres.fresh())
    Ledger(url.render_as_string(hide_password=False))
    proxy = LostCommits(postgres.launch.port)
    book = Ledger(url.set(port=proxy.port).render_as_string(hide_password=False))
    work, read, answer, left = WRITES[write]
    proxy.armed = 1
    summary = counted(lambda: {"answer": work(book)})
    proxy.close()
    assert proxy.armed == 0
    assert summary == {"answer": answer, "retries": {"ledger": 1}}
    assert read(Ledger(url.render_as_string(hide_password=False))) == left


# -- SQL sources ----------------------------------------------------------------------------------------------------


def test_a_source_that_is_restarted_costs_a_retry(postgres: PostgresServer, tmp_path: Path) -> None:
    import psycopg2

    url = make_url(postgres.fresh())
    row = "'17' payment_id, 'c' card_id, 12.5 amount_eur, 'NL' country, 0 is_fraud"
    row += ", timestamptz '2026-03-01 10:00Z' paid_at"
    connection = psycopg2.connect(url.set(drivername="postgresql").render_as_string(hide_password=False))
    connection.cursor().execute(f"CREATE TABLE payments AS SELECT {row}")
    connection.commit()
    connection.close()
    source = {"format": "sql", "url": url.render_as_string(hide_password=False), "query": "SELECT * FROM payments"}
    run = context(tmp_path, source=source | {"columns": PAYMENTS["source"]["columns"]})
    summary = while_away(postgres, 0.5, lambda: ingest(run)["read"])
    assert summary["answer"] == 1
    assert summary["retries"]["source"] >= 1
    assert sql_source.SOURCE.code == "E-SOURCE-DOWN"


# -- the object store -----------------------------------------------------------------------------------------------


def test_an_object_store_that_is_restarted_costs_retries(object_store: ObjectStore, s3_root: str) -> None:
    files = open_files(s3_root)
    files.write("before", b"1")
    summary = while_away(object_store, 1.0, lambda: (files.create("claim", b"mine"), files.read("before")))
    assert summary["answer"] == (True, b"1")
    assert summary["retries"]["s3"] >= 2


def test_an_object_store_that_stays_away_is_not_asked_again_and_again(
    object_store: ObjectStore, s3_root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "STORE", replace(s3.STORE, attempts=2))
    files = open_files(s3_root)
    object_store.kill()
    try:
        for _ in range(2):
            with pytest.raises(StorageError, match="E-S3-UNAVAILABLE"):
                files.read("a")
        started = time.monotonic()
        with pytest.raises(StorageError, match=r"E-S3-DOWN .* the object store is down since"):
            files.write("a", b"1")
        assert time.monotonic() - started < 0.5
    finally:
        object_store.start()
    breaker_of("s3", f"s3://{s3.S3Files(s3_root).bucket}").opened_at -= 30  # the pause has passed
    assert files.read("a") is None, "what was not tried was not written; the probe closes the breaker"


# -- MLflow ---------------------------------------------------------------------------------------------------------


class Moody(ThreadingHTTPServer):
    """Answers each request with the next of `moods` (a status, 'hang', 'html 403'), then as MLflow would."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.moods: list[int | str] = []
        self.asked = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Answers(BaseHTTPRequestHandler):
    server: Moody

    def do_GET(self) -> None:
        self.server.asked += 1
        mood = self.server.moods.pop(0) if self.server.moods else 200
        if mood == "hang":
            time.sleep(3)
            return
        if mood == 200:
            return self._send(200, {"model_version": {"name": "payments", "version": "7"}})
        codes = {400: "INVALID_STATE", 403: "PERMISSION_DENIED", 404: "RESOURCE_DOES_NOT_EXIST", 500: "INTERNAL_ERROR"}
        self._send(int(mood), {"error_code": codes.get(int(mood), "TEMPORARILY_UNAVAILABLE"), "message": "no"})

    def _send(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Silent."""


@pytest.fixture
def moody(monkeypatch: pytest.MonkeyPatch) -> Iterator[Moody]:
    server = Moody()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(mlflow_client, "MLFLOW", replace(mlflow_client.MLFLOW, attempts=3))
    yield server
    server.shutdown()
    server.server_close()


def test_a_registry_in_trouble_is_asked_again(moody: Moody, tmp_path: Path) -> None:
    run = context(tmp_path)
    for moods in ([500, 503], [429, "hang"], [502, 504]):
        moody.moods = list(moods)
        assert counted(lambda: {"alias": registry.champion_alias(run)}) == {"alias": "7", "retries": {"mlflow": 2}}
    assert moody.asked == 9, "each request once: MLflow's client repeats nothing by itself"


@pytest.mark.parametrize(("mood", "asked"), [(403, 1), (400, 1), (503, 3)])
def test_a_registry_that_refuses_is_not_asked_again(moody: Moody, tmp_path: Path, mood: int, asked: int) -> None:
    moody.moods = [mood] * 5
    with pytest.raises(StorageError, match=r"E-REG-DOWN.*The champion stays"):
        registry.champion_alias(context(tmp_path))
    assert moody.asked == asked


def test_an_alias_that_is_absent_is_an_answer(moody: Moody, tmp_path: Path) -> None:
    moody.moods = [404]
    assert registry.champion_alias(context(tmp_path)) is None
    assert moody.asked == 1


def test_the_repair_of_many_aliases_does_not_wait_for_each(moody: Moody, tmp_path: Path) -> None:
    """FAULTS D13: with the registry down the nightly repair gives up twice, then passes the others by."""
    run = context(tmp_path)
    version = run.ledger.record_model(
        run.name, run_id="r", as_of=utc("2026-03-01"), **MODEL | {"record": {"mlflow_version": "1"}}
    )  # type: ignore[arg-type]
    run.ledger.change_champion(run.name, version, expected_seq=0, run_id="r", **CHANGE)  # type: ignore[arg-type]
    moody.moods = [503] * 100
    for _ in range(10):
        with pytest.raises(StorageError, match="E-REG-DOWN"):
            reconcile_alias(run)
    assert moody.asked == 6
