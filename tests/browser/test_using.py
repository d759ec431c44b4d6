"""What somebody does by hand in the UI, with a mouse and a keyboard, on the demo's home."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pipelines.home import Home
from pipelines.ledger import Ledger
from tests.airflow_server import wait_for
from tests.browser.looking import picture, problems

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.conftest import Up

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

NAME, DAYS = "card_payments", ("2026-03-24", "2026-03-25")


def releases(up: Up) -> list[dict[str, Any]]:
    return [dict(row) for row in Ledger(Home.resolve(up.home).ledger_url).releases(NAME)]


def api(page: Page, path: str) -> dict[str, Any]:
    """What Airflow's own API says, asked with the browser's sign-in."""
    answer: dict[str, Any] = page.request.get(path).json()
    return answer


def states(page: Page, kind: str) -> list[str]:
    runs = api(page, f"/api/v2/dags/{NAME}__{kind}/dagRuns?order_by=-id&limit=2")["dag_runs"]
    return [str(run["state"]) for run in runs]


def begun(page: Page, kind: str) -> str | None:
    """State of the newest run that a button started."""
    runs = api(page, f"/api/v2/dags/{NAME}__{kind}/dagRuns?order_by=-id&limit=5")["dag_runs"]
    return next((str(run["state"]) for run in runs if run["dag_run_id"].startswith("page__")), None)


def fill_moment(page: Page, label: str, date: str, time: str) -> None:
    dialog = page.get_by_role("dialog").first
    dialog.locator("div", has=page.get_by_text(label, exact=True)).get_by_text("Select date and time").first.click()
    page.get_by_placeholder("YYYY/MM/DD").fill(date.replace("-", "/"))
    page.get_by_placeholder("HH:mm").fill(time)
    page.get_by_placeholder("HH:mm").press("Tab")
    page.get_by_role("heading", name="Run Backfill").click()


def test_a_backfill_from_airflows_form_runs_the_days_and_changes_nothing(page: Page, up: Up) -> None:
    before = releases(up)
    page.goto(f"/dags/{NAME}__daily")
    page.get_by_role("button", name="Trigger").click()
    page.get_by_text("Run this Dag for a range of dates").click()
    fill_moment(page, "From", DAYS[0], "00:00")
    fill_moment(page, "To", DAYS[1], "23:59")
    page.get_by_text("All Runs", exact=True).click()
    page.get_by_text("2 runs will be triggered").wait_for()
    picture(page, "backfill")
    page.get_by_role("button", name="Run Backfill").click()
    wait_for("both days", lambda: states(page, "daily") == ["success", "success"], 400)
    assert [row for row in releases(up) if row["partition"] in DAYS] == [
        row for row in before if row["partition"] in DAYS
    ]


def waiting(page: Page) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api(page, "/api/v2/dags/~/dagRuns/~/hitlDetails?response_received=false")[
        "hitl_details"
    ]
    return found


def press(page: Page, at: str, button: str, sure: str, reason: str | None = None) -> None:
    """A button of a page, its question, and the page again with a word that it has begun."""
    page.goto(at)
    page.get_by_role("link", name=button, exact=True).click()
    if reason:
        page.get_by_role("textbox").fill(reason)
    assert problems(page) == []
    page.get_by_role("button", name=sure, exact=True).click()
    page.get_by_role("status").wait_for()


def test_the_buttons_of_the_pages_do_what_they_say(page: Page, up: Up) -> None:
    """All are pressed before the first is done, as Airflow runs them side by side."""
    ledger = Ledger(Home.resolve(up.home).ledger_url)
    partition, version = f"/nightshift/partition/{NAME}", f"/nightshift/version/{NAME}/1"
    press(page, f"{partition}/2026-03-20", "Take these scores back", "Take these scores back", "two limits were wrong")
    press(page, version, "Replay this version", "Replay this version")
    press(page, f"{partition}/2026-03-19", "Run this partition again", "Run 2026-03-19")
    press(page, f"/nightshift/version/{NAME}/3", "Make this version the champion again", "Put version 3 back", "better")
    wait_for("the rollback", lambda: begun(page, "rollback") == "success", 300)
    champion = ledger.champions(NAME)[-1]
    assert (champion["version"], champion["reason"], champion["actor"]) == (3, "better", "admin")
    wait_for("the run", lambda: begun(page, "daily") == "success", 300)
    wait_for("the retraction", lambda: begun(page, "retract") == "success", 300)
    assert ledger.releases(NAME, "2026-03-20")[-1]["state"] == "retracted"
    wait_for("the replay", lambda: begun(page, "replay") == "success", 400)
    page.goto(version)
    assert page.get_by_text("equal", exact=True).count() > 0
    page.goto(f"{partition}/2026-03-20")
    assert "two limits were wrong" in page.inner_text("main")


def test_a_person_reads_the_decision_and_approves_the_promotion(page: Page, up: Up) -> None:
    """Version 1 has been deaf to the new fraud since the demo's drift, so that a new challenger wins by far."""
    ledger = Ledger(Home.resolve(up.home).ledger_url)
    press(page, f"/nightshift/version/{NAME}/1", "Make this version the champion again", "Put version 1 back", "again")
    wait_for("the rollback", lambda: ledger.champions(NAME)[-1]["version"] == 1, 300)
    press(page, f"/nightshift/pipeline/{NAME}", "Retrain now", "Retrain now")
    wait_for("the question", lambda: waiting(page), 400)
    page.goto("/")
    page.get_by_role("button", name="Browse").click()
    page.get_by_role("menuitem", name="Required Actions").click()
    page.get_by_role("link", name=f"Promote the challenger of {NAME}").first.click()
    page.get_by_role("button", name="Approve").wait_for()
    picture(page, "approval")
    page.get_by_role("button", name="Approve").click()
    wait_for("the promotion", lambda: ledger.champions(NAME)[-1]["version"] > 3, 300)
    assert "admin" in ledger.champions(NAME)[-1]["actor"]
