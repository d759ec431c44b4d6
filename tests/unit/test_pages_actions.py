"""What buttons would start, whom they are offered, and which requests are taken for a press of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import ConfigError, NightshiftError
from pipelines.home import Home
from pipelines.pages import actions, offers, proposals
from pipelines.pages.origin import is_from_here
from pipelines.pages.rendering import render
from tests.conftest import ALPHA, BETA, write_config
from tests.pages import HOSTILE, alpha_home, attempt, checked, crown, ledger_of, register, release

DAY, TOKEN = "2026-03-04", "0123456789abcdef"
BASE = "https://night.example/airflow"


def ready(root: Path) -> Home:
    """Versions 1 and 2, of which 2 is champion; a release of DAY."""
    home = alpha_home(root)
    ledger = ledger_of(home)
    for number in (1, 2):
        register(ledger)
        crown(ledger, number, f"2026-03-0{number}")
    release(ledger, DAY)
    return home


def asked(home: Home, action: str, answers: dict[str, str] | None = None, **given: str) -> tuple[str, dict[str, Any]]:
    one = proposals.proposal(home, "alpha", action, given)
    assert actions.problems(home, one, answers or {}) == []
    return actions.request(home, one, answers or {}, TOKEN)


def test_a_partition_is_run_by_its_key(tmp_path: Path) -> None:
    path, body = asked(ready(tmp_path), "run", partition=DAY)
    assert path == "/api/v2/dags/alpha__daily/dagRuns"
    assert body == {
        "dag_run_id": f"page__run__{TOKEN}",
        "logical_date": None,
        "conf": {},
        "note": None,
        "partition_key": DAY,
    }


@pytest.mark.parametrize(
    ("action", "given", "answers", "conf"),
    [
        ("retract", {"partition": DAY}, {"reason": " wrong "}, {"partition": DAY, "reason": "wrong"}),
        ("rollback", {"version": "1"}, {"reason": "wrong"}, {"version": 1, "reason": "wrong"}),
        ("replay", {"version": "2"}, {}, {"version": 2}),
        ("retrain", {}, {}, {}),
    ],
)
def test_a_run_gets_what_its_dag_asks_for(
    tmp_path: Path, action: str, given: dict[str, str], answers: dict[str, str], conf: dict[str, Any]
) -> None:
    path, body = asked(ready(tmp_path), action, answers, **given)
    assert path == f"/api/v2/dags/alpha__{action}/dagRuns"
    assert (body["conf"], "partition_key" in body) == (conf, False)


def test_a_backfill_covers_its_last_partition_too(tmp_path: Path) -> None:
    """Airflow counts ticks: one at 02:00 of the last day must lie before the end that it is told."""
    path, body = asked(ready(tmp_path), "backfill", {"first": "2026-03-02", "last": DAY, "which": "failed"})
    assert path == "/api/v2/backfills"
    assert (body["dag_id"], body["reprocess_behavior"]) == ("alpha__daily", "failed")
    assert (body["from_date"], body["to_date"]) == ("2026-03-02T00:00:00+00:00", "2026-03-04T23:59:59+00:00")


def test_weeks_of_another_time_zone_begin_there(tmp_path: Path) -> None:
    """Monday 2 March in Berlin begins at 23:00 UTC on Sunday."""
    home = Home(tmp_path / "home", write_config(tmp_path, beta=BETA))
    ledger_of(home)
    one = proposals.proposal(home, "beta", "backfill", {})
    answers = {"first": "2026-03-02", "last": "2026-03-02", "which": "none"}
    body = actions.request(home, one, answers, TOKEN)[1]
    assert (body["from_date"], body["to_date"]) == ("2026-03-01T23:00:00+00:00", "2026-03-08T22:59:59+00:00")


@pytest.mark.parametrize(
    ("action", "given", "answers", "words"),
    [
        ("rollback", {"version": "1"}, {"reason": " x "}, "at least 3 characters"),
        ("rollback", {"version": "1"}, {}, "must be filled in"),
        ("backfill", {}, {"first": DAY, "last": "2026-03-02", "which": "none"}, "lies before the first"),
        ("backfill", {}, {"first": "4.3.2026", "last": DAY, "which": "none"}, "must be written like '2026-03-02'"),
        ("backfill", {}, {"first": DAY, "last": DAY, "which": "everything"}, "one of those listed"),
    ],
    ids=["short reason", "no reason", "backwards", "no date", "no such choice"],
)
def test_answers_are_checked_before_airflow_is_asked(
    tmp_path: Path, action: str, given: dict[str, str], answers: dict[str, str], words: str
) -> None:
    home = ready(tmp_path)
    (problem,) = actions.problems(home, proposals.proposal(home, "alpha", action, given), answers)
    assert words in problem


@pytest.mark.parametrize(
    ("action", "given", "words"),
    [
        ("rollback", {"version": "2"}, "is the champion already"),
        ("rollback", {"version": "3"}, "was never the champion"),
        ("retract", {"partition": "2026-03-05"}, "nothing to take back"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_reason(
    tmp_path: Path, action: str, given: dict[str, str], words: str
) -> None:
    home = ready(tmp_path)
    register(ledger_of(home))
    assert words in proposals.proposal(home, "alpha", action, given).refusal


@pytest.mark.parametrize(
    ("name", "action", "given", "code"),
    [
        ("alpha", "explode", {}, "E-PAGE-ACTION"),
        ("alpha", "run", {"partition": "../x"}, "E-RUN-PARTITION"),
        ("alpha", "run", {}, "E-RUN-PARTITION"),
        ("alpha", "replay", {"version": "9"}, "E-MODEL-UNKNOWN"),
        ("alpha", "replay", {"version": "9" * 5000}, "E-PAGE-VERSION"),
        ("nobody", "retrain", {}, "E-CONFIG"),
    ],
    ids=["action", "partition", "no partition", "version", "a very long number", "pipeline"],
)
def test_what_is_not_there_cannot_be_started(
    tmp_path: Path, name: str, action: str, given: dict[str, str], code: str
) -> None:
    with pytest.raises(NightshiftError, match=code):
        proposals.proposal(ready(tmp_path), name, action, given)


def test_a_run_at_work_is_mentioned(tmp_path: Path) -> None:
    home = ready(tmp_path)
    ledger_of(home).start_attempt("alpha", DAY, "score", "manual__1", "c0de")
    assert "at work already, at 'score'" in " ".join(proposals.proposal(home, "alpha", "run", {"partition": DAY}).says)
    attempt(ledger_of(home), "2026-03-05", "score", "done")
    says = proposals.proposal(home, "alpha", "run", {"partition": "2026-03-05"}).says
    assert "at work" not in " ".join(says)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"origin": "https://night.example", "host": "10.0.0.7:8080"}, True),
        ({"origin": "http://10.0.0.7:8080", "host": "10.0.0.7:8080"}, True),
        ({"origin": "http://10.0.0.7:8080", "host": "10.0.0.7:8080", "sec-fetch-site": "same-origin"}, True),
        ({"authorization": "Bearer x"}, True),
        ({"authorization": "Basic x", "origin": "http://evil.example", "host": "10.0.0.7:8080"}, False),
        ({"host": "10.0.0.7:8080"}, False),
        ({"origin": "null", "host": "10.0.0.7:8080"}, False),
        ({"origin": "", "host": ""}, False),
        ({"origin": "http://10.0.0.7:9999", "host": "10.0.0.7:8080"}, False),
        ({"origin": "https://night.example.evil.example", "host": "10.0.0.7:8080"}, False),
        ({"origin": "http://10.0.0.7:8080", "host": "10.0.0.7:8080", "sec-fetch-site": "same-site"}, False),
    ],
    ids=[
        *("behind a proxy", "directly", "the browser agrees", "a program with its token"),
        "a proxy's own sign-in",
        *("no origin", "a hidden origin", "nothing at all", "another port", "a name that begins alike", "a sibling"),
    ],
)
def test_who_may_press(headers: dict[str, str], expected: bool) -> None:
    assert is_from_here(headers, BASE) is expected


@pytest.mark.parametrize(
    "query",
    [
        {"started": "explode", "run": f"page__run__{TOKEN}"},
        {"started": "run", "run": HOSTILE},
        {"started": "run", "run": f"page__retrain__{TOKEN}"},
        {"run": f"page__run__{TOKEN}"},
    ],
    ids=["no such action", "not of ours", "of another action", "no action"],
)
def test_an_address_cannot_make_the_page_say_things(query: dict[str, str]) -> None:
    assert offers.notice("alpha", query) is None


def test_a_notice_leads_to_the_run() -> None:
    found = offers.notice("alpha", {"started": "replay", "run": f"page__replay__{TOKEN}"})
    assert found is not None
    assert found.address == f"/dags/alpha__replay/runs/page__replay__{TOKEN}"


@pytest.mark.parametrize(
    ("action", "dag_id", "address"),
    [
        ("run", "alpha__daily", f"/dags/alpha__daily/runs/page__run__{TOKEN}"),
        ("backfill", "alpha__daily", "/dags/alpha__daily/backfills"),
        ("retrain", "alpha__retrain", f"/dags/alpha__retrain/runs/page__retrain__{TOKEN}"),
    ],
)
def test_a_notice_says_that_a_paused_dag_waits(action: str, dag_id: str, address: str) -> None:
    query = {"started": action, "run": f"page__{action}__{TOKEN}"}
    assert offers.started("alpha", query) == dag_id
    running, waiting = offers.notice("alpha", query), offers.notice("alpha", query | {offers.PAUSED: dag_id})
    assert running is not None
    assert waiting is not None
    assert (running.is_paused, waiting.is_paused, waiting.address) == (False, True, address)
    assert waiting.text.startswith(f"{running.text} {dag_id} is paused in Airflow: its runs wait until somebody")
    assert ("by its schedule again" in waiting.text) == (dag_id == "alpha__daily")


def test_a_pipeline_without_training_has_nothing_to_retrain_or_replay(tmp_path: Path) -> None:
    home = Home(tmp_path / "home", write_config(tmp_path, alpha=ALPHA, beta=BETA))
    found = {name: [one.text for one in offers.of_pipeline(home, name, lambda _: True)] for name in ("alpha", "beta")}
    assert found == {"alpha": ["Retrain now", "Start a backfill"], "beta": ["Start a backfill"]}
    assert offers.of_version(home, "beta", 1, [], lambda _: True) == []


def test_broken_settings_offer_nothing_and_break_no_page(tmp_path: Path) -> None:
    home = alpha_home(tmp_path)
    (home.config / "pipelines" / "alpha.yaml").write_text("name: alpha\n")
    assert offers.of_partition(home, "alpha", DAY, True, True, lambda _: True) == []
    assert offers.of_pipeline(home, "alpha", lambda _: True) == []
    with pytest.raises(ConfigError):
        proposals.proposal(home, "alpha", "retrain", {})


def test_the_form_keeps_what_was_filled_in_and_shows_it_as_text(tmp_path: Path) -> None:
    one = proposals.proposal(ready(tmp_path), "alpha", "rollback", {"version": "1"})
    page = render(
        "action",
        way=[],
        one=one,
        answers={"reason": HOSTILE},
        problems=[HOSTILE],
        blocked="",
        paused="",
        address="/x",
        token="t",
    )
    seen = checked(page)
    assert [field["value"] for field in seen.all("input") if field["name"] == "reason"] == [HOSTILE]
    assert not seen.all("img")
    assert [form["method"] for form in seen.all("form")] == ["post"]
