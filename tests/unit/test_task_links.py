"""Where the links of a task lead: to what it made, and nowhere when it made nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipelines.home import Home
from pipelines.ledger import Ledger
from pipelines.pages import made
from pipelines.pages.made import Task

DAY, RUN = "2026-03-02", "scheduled__2026-03-03"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("NIGHTSHIFT_MLFLOW_URL", "http://127.0.0.1:5000/")
    return Home(tmp_path, tmp_path / "config")


def task(home: Home, partition: str = DAY, **known: Any) -> Task:
    return Task(home, "alpha", RUN, partition, known)


def quarantined(home: Home, table: str, rows: int) -> None:
    digests = {"input_digest": f"of {rows}", "content_digest": f"of {rows}"}
    Ledger(home.ledger_url).record_publication(
        "alpha", table, DAY, run_id=RUN, delta_version=1, row_count=rows, facts={}, **digests
    )


def decided(home: Home, kind: str, run_id: str = RUN, version: int | None = None) -> None:
    Ledger(home.ledger_url).record_decision(
        "alpha", kind, DAY, run_id=run_id, outcome="PASS", model_version=version, reasons=[], numbers={}
    )


@pytest.mark.parametrize(
    ("page", "place"),
    [("partition", "quarantine"), ("partition", "release"), ("partition", "decisions"), ("version", "gate")],
)
def test_the_place_of_a_page_that_a_link_names_is_there(page: str, place: str) -> None:
    """A browser shows the page's top for a place that it does not have, without a word."""
    templates = Path(made.__file__).parent / "templates"
    assert f'id="{place}"' in (templates / f"{page}.html.j2").read_text()


def test_pages_need_only_names(home: Home) -> None:
    assert made.pipeline_page(task(home, "")) == "/nightshift/pipeline/alpha"
    assert made.partition_page(task(home)) == "/nightshift/partition/alpha/2026-03-02"
    assert made.version_page(task(home, version=7)) == "/nightshift/version/alpha/7"
    assert made.version_page(task(home, model_version=3)) == "/nightshift/version/alpha/3"  # what a release says


@pytest.mark.parametrize(
    "place",
    [
        *(made.partition_page, made.version_page, made.data_docs, made.drift_report, made.quarantine, made.release),
        *(made.decision("drift"), made.gate_decision, made.mlflow_run, made.mlflow_version),
    ],
)
def test_a_task_that_failed_before_it_knew_its_partition_has_no_links(home: Home, place: made.Place) -> None:
    assert place(task(home, "")) == ""


@pytest.mark.parametrize(("place", "folder"), [(made.data_docs, "data_docs"), (made.drift_report, "drift")])
def test_a_report_is_linked_once_it_is_there(home: Home, place: made.Place, folder: str) -> None:
    assert place(task(home)) == ""
    home.files("reports", "alpha").write(f"{folder}/{DAY}.html", b"<html>")
    assert place(task(home)) == f"/nightshift/reports/alpha/{folder}/2026-03-02.html"
    assert place(task(home, "2026-03-03")) == ""


@pytest.mark.parametrize("table", ["quarantine/ingest", "quarantine/validate"])
def test_quarantine_is_linked_when_rows_are_in_it(home: Home, table: str) -> None:
    quarantined(home, table, 0)
    assert made.quarantine(task(home)) == ""
    quarantined(home, table, 2)
    assert made.quarantine(task(home)) == "/nightshift/partition/alpha/2026-03-02#quarantine"


def test_a_release_is_linked_until_it_is_retracted(home: Home) -> None:
    ledger = Ledger(home.ledger_url)
    facts = {"release_id": "r1", "model_version": 1, "row_count": 3, "digest": "d", "path": "p", "is_hindsight": False}
    ledger.record_release("alpha", DAY, run_id=RUN, **facts)
    assert made.release(task(home)) == "/nightshift/partition/alpha/2026-03-02#release"
    ledger.retract_release("alpha", DAY, "wrong prices")
    assert made.release(task(home)) == ""


def test_a_decision_is_that_of_this_run_not_of_an_earlier_one(home: Home) -> None:
    decided(home, "drift", run_id="another")
    assert made.decision("drift")(task(home)) == ""
    decided(home, "drift")
    assert made.decision("drift")(task(home)) == "/nightshift/partition/alpha/2026-03-02#decisions"
    assert made.decision("audit")(task(home)) == ""


def test_the_gate_decides_about_a_version(home: Home) -> None:
    decided(home, "gate", version=7)
    assert made.gate_decision(task(home, version=7)) == "/nightshift/version/alpha/7#gate"
    assert made.gate_decision(task(home, version=8)) == ""


def test_mlflow_shows_the_run_and_the_version_under_its_own_number(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    moment = datetime(2026, 3, 3, tzinfo=UTC)
    store: dict[str, Any] = {"artifact_uri": "models/x", "artifact_sha256": "x", "record": {"mlflow_version": "9"}}
    version = Ledger(home.ledger_url).record_model("alpha", run_id=RUN, as_of=moment, mlflow_run_id="abc", **store)
    assert made.mlflow_run(task(home, version=version)) == "http://127.0.0.1:5000/#/runs/abc"
    assert made.mlflow_version(task(home, version=version)) == "http://127.0.0.1:5000/#/models/alpha/versions/9"
    assert made.mlflow_run(task(home, mlflow_run_id="search")) == "http://127.0.0.1:5000/#/runs/search"
    assert made.mlflow_run(task(home, version=version + 1)) == ""  # a version that was never registered
    monkeypatch.delenv("NIGHTSHIFT_MLFLOW_URL")
    assert made.mlflow_run(task(home, version=version)) == made.mlflow_version(task(home, version=version)) == ""
