"""Overview and pipeline page over small ledgers: what they say, to whom, and that data never becomes markup."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from pipelines import approvals
from pipelines.context import Context
from pipelines.errors import ConfigError
from pipelines.home import REPOSITORY, Home
from pipelines.ledger import Ledger
from pipelines.pages import addresses, overview, pipeline
from pipelines.pages.known import settings_of
from pipelines.pages.of_run import place_of_run
from pipelines.report.nights import EVER, newest_spans, nights
from pipelines.settings import load_pipeline
from tests.builders import utc
from tests.reading import Page

WICKED = "E-DQ-EMPTY <script>alert(1)</script>: '<b>amount</b>' is empty. Send it again."
NOW = utc("2026-03-04T04:00:00")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Two configured pipelines, alpha and beta, of which nothing ran yet."""
    config = tmp_path / "config"
    shutil.copytree(REPOSITORY / "config" / "features", config / "features")
    shutil.copytree(REPOSITORY / "config" / "environments", config / "environments")
    shutil.copytree(REPOSITORY / "expectations", tmp_path / "expectations")
    (config / "pipelines").mkdir()
    text = (REPOSITORY / "config" / "pipelines" / "card_payments.yaml").read_text()
    for name in ("alpha", "beta"):
        (config / "pipelines" / f"{name}.yaml").write_text(text.replace("name: card_payments", f"name: {name}"))
    return Home(tmp_path / "home", config)


def _run(home: Home, name: str, key: str) -> Context:
    settings = load_pipeline(name, home.config)
    return Context(settings, home, Ledger(home.ledger_url), settings.parse(key), f"run-{key}")


def _released(home: Home, name: str, key: str, version: int = 1) -> None:
    """A quiet night: ten read, eight clean, released."""
    run = _run(home, name, key)
    attempt = run.ledger.start_attempt(name, key, "ingest", run.run_id, "c")
    run.ledger.end_attempt(attempt, "done", None, None, 1)
    counts: dict[str, Any] = {"read": 10, "clean": 8, "quarantined": 1, "duplicate": 1}
    run.ledger.set_accounting(name, key, state="clean", reason=None, run_id=run.run_id, **counts)
    values: dict[str, Any] = {
        "release_id": f"{name}-{key}",
        "digest": "d" * 64,
        "path": "exports",
        "is_hindsight": False,
    }
    run.ledger.record_release(name, key, model_version=version, row_count=8, run_id=run.run_id, **values)


def _refused(home: Home, name: str, key: str) -> None:
    run = _run(home, name, key)
    attempt = run.ledger.start_attempt(name, key, "validate", run.run_id, "c")
    run.ledger.end_attempt(attempt, "refused", None, WICKED, 1)


def _seen(home: Home, *names: str) -> list[dict[str, Any]]:
    return overview.overview(home, Ledger(home.ledger_url), list(names), NOW)


def test_what_needs_somebody_comes_first(home: Home) -> None:
    for key in ("2026-03-01", "2026-03-02", "2026-03-03"):
        _released(home, "alpha", key)
        _released(home, "beta", key)
    _refused(home, "beta", "2026-03-03")
    found = _seen(home, "alpha", "beta")
    assert [(one["pipeline"], [need["kind"] for need in one["needs"]]) for one in found] == [
        ("beta", ["refused"]),
        ("alpha", []),
    ]
    assert overview.sentence(found) == ("1 of 2 pipelines is fine; beta was refused at validate on 2026-03-03.")
    last = found[1]["last"]
    assert [last[kind] for kind in ("partition", "state", "read", "clean", "quarantined", "duplicate")] == [
        "2026-03-03",
        "released",
        10,
        8,
        1,
        1,
    ]


@pytest.mark.parametrize(
    ("ran", "said"),
    [
        ([], "There is no pipeline yet that you may read."),
        ([False, False], "2 have not run yet."),
        ([True, True], "All 2 pipelines are fine."),
        ([True, False], "The pipeline is fine; 1 has not run yet."),
    ],
    ids=["none", "never ran", "fine", "one of two ran"],
)
def test_the_sentence_on_top(ran: list[bool], said: str) -> None:
    found: list[dict[str, Any]] = [{"pipeline": "p", "needs": [], "last": {} if did else None} for did in ran]
    assert overview.sentence(found) == said


def test_a_night_that_did_not_come_is_seen(home: Home) -> None:
    _released(home, "alpha", "2026-03-01")
    (alpha,) = _seen(home, "alpha")
    assert alpha["needs"][0]["command"] == "nightshift run alpha --from 2026-03-02 --to 2026-03-03"


def test_a_question_waits_until_its_time_is_up(home: Home) -> None:
    for key in ("2026-03-01", "2026-03-02", "2026-03-03"):
        _released(home, "alpha", key)
    asked = {"until": "2026-03-05T00:00:00+00:00"}
    approvals.record(Ledger(home.ledger_url), "alpha", "2026-03-03", "r9", 2, approvals.WAITING, asked)
    (alpha,) = _seen(home, "alpha")
    assert [(need["kind"], need["run_id"]) for need in alpha["needs"]] == [("approval", "r9")]
    late = overview.overview(home, Ledger(home.ledger_url), ["alpha"], utc("2026-03-05T00:30:00"))
    assert late[0]["needs"] == []


def test_settings_that_cannot_be_read_are_a_need_and_a_correction_is_seen_at_once(home: Home) -> None:
    path = home.config / "pipelines" / "alpha.yaml"
    right = path.read_text()
    assert settings_of(home, "alpha")[0] is not None
    path.write_text(right.replace("owner:", "ower:"))
    (alpha,) = _seen(home, "alpha")
    assert [need["kind"] for need in alpha["needs"]] == ["settings"]
    path.write_text(right)
    assert _seen(home, "alpha")[0]["needs"] == []


def test_pages_show_only_what_may_be_read_and_no_data_as_markup(home: Home) -> None:
    _refused(home, "alpha", "2026-03-03")
    _refused(home, "beta", "2026-03-03")
    page = Page(overview.page(home, lambda name: name == "beta"))
    assert addresses.pipeline("beta") in page.links
    assert "alpha" not in page.text
    for text in (overview.page(home, lambda _: True), pipeline.page(home, "alpha")):
        read = Page(text)
        assert "<b>amount</b>' is empty. Send it again." in read.text
        assert read.tags.count("script") == 1  # our own


def test_pipeline_page_has_a_calendar_whose_days_lead_to_their_pages(home: Home) -> None:
    for key in ("2026-03-01", "2026-03-02"):
        _released(home, "alpha", key)
    _refused(home, "alpha", "2026-03-03")
    page = Page(pipeline.page(home, "alpha", until="2026-03-02"))
    for key in ("2026-03-01", "2026-03-02", "2026-03-03"):
        assert addresses.partition("alpha", key) in page.links
    assert "2026-03-03: refused: the data was not accepted" in page.text
    assert "20 read = 16 clean + 2 quarantined + 2 duplicate; 16 scored" in page.text
    assert "2 released, 0 superseded, 0 retracted" in page.text


def test_older_nights_are_reached_by_links(home: Home) -> None:
    _released(home, "alpha", "2026-03-01")
    _released(home, "alpha", "2026-07-15")
    newest = Page(pipeline.page(home, "alpha"))
    earlier = addresses.pipeline("alpha", until="2026-05-31") + "#calendar"
    assert earlier in newest.links
    assert addresses.partition("alpha", "2026-03-01") not in newest.links
    first = Page(pipeline.page(home, "alpha", until="2026-03-31"))
    assert addresses.partition("alpha", "2026-03-01") in first.links
    assert addresses.pipeline("alpha", until="2026-05-31") + "#calendar" in first.links


def test_decisions_are_filtered_and_turned_over(home: Home) -> None:
    _released(home, "alpha", "2026-03-01")
    ledger = Ledger(home.ledger_url)
    for number in range(25):
        said: dict[str, Any] = {
            "outcome": "HOLD",
            "model_version": number + 1,
            "reasons": [f"reason {number}"],
            "numbers": {},
        }
        ledger.record_decision("alpha", "gate", "2026-03-01", run_id=f"g{number}", **said)
    quiet: dict[str, Any] = {"outcome": "OK", "model_version": 1, "reasons": ["nothing moved"], "numbers": {}}
    ledger.record_decision("alpha", "drift", "2026-03-01", run_id="d", **quiet)
    page = Page(pipeline.page(home, "alpha"))
    assert "reason 24" in page.text
    assert "reason 4 " not in page.text  # twenty of them
    assert "nothing moved" not in page.text  # routine
    assert "nothing moved" in Page(pipeline.page(home, "alpha", kind="drift")).text
    (older,) = [link for link in page.links if "before=" in link]
    before = int(older.partition("before=")[2].partition("#")[0])
    assert "reason 4 " in Page(pipeline.page(home, "alpha", before=before)).text


@pytest.mark.parametrize(
    ("name", "until"), [("gamma", None), ("alpha", "yesterday")], ids=["no such pipeline", "no such night"]
)
def test_what_is_not_there_is_an_error_in_words(home: Home, name: str, until: str | None) -> None:
    _released(home, "alpha", "2026-03-01")
    with pytest.raises(ConfigError):
        pipeline.page(home, name, until)


def test_a_pipeline_that_never_ran_says_how_to_begin(home: Home) -> None:
    assert "nightshift run alpha" in Page(pipeline.page(home, "alpha")).text


def test_a_run_leads_to_its_partition_or_its_version(home: Home) -> None:
    _released(home, "alpha", "2026-03-01")
    ledger = Ledger(home.ledger_url)
    made: dict[str, Any] = {
        "as_of": NOW,
        "mlflow_run_id": None,
        "artifact_uri": "m",
        "artifact_sha256": "0",
        "record": {},
    }
    ledger.record_model("alpha", run_id="retrain-1", **made)
    assert place_of_run(ledger, "alpha__daily", "run-2026-03-01") == addresses.partition("alpha", "2026-03-01")
    assert place_of_run(ledger, "alpha__daily", "just began") == addresses.pipeline("alpha")
    assert place_of_run(ledger, "alpha__retrain", "retrain-1") == addresses.version("alpha", 1)
    assert place_of_run(ledger, "alpha__rollback", "retrain-1") == addresses.pipeline("alpha")
    assert place_of_run(ledger, "nightshift__maintenance", "any") == addresses.overview()


def test_a_page_reads_no_night_before_its_span(home: Home) -> None:
    for day in range(1, 6):
        _released(home, "alpha", f"2026-03-0{day}")
    _released(home, "beta", "2026-03-05")
    ledger = Ledger(home.ledger_url)
    spans = newest_spans(ledger, ["alpha", "beta"], 2)
    assert spans == {"alpha": ("2026-03-04", EVER), "beta": ("", EVER)}  # beta has fewer than two
    found = nights(ledger, spans)
    assert [night["partition"] for night in found["alpha"]] == ["2026-03-05", "2026-03-04"]
    assert [night["attempts"] for night in found["beta"]] == [1]
    assert ledger.partition_keys("alpha", ("ingest",), newest=2) == ["2026-03-05", "2026-03-04"]
