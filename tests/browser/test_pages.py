"""Each page of Nightshift in the Airflow UI, as a browser shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.browser.looking import picture, problems

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

PAGES = {
    "overview": ("/nightshift/", "Nightshift"),
    "pipeline": ("/nightshift/pipeline/card_payments", "card_payments"),
    "partition": ("/nightshift/partition/card_payments/2026-03-19", "2026-03-19"),
    "version": ("/nightshift/version/card_payments/3", "version 3"),
    "compare": ("/nightshift/compare/card_payments?left=1&right=3", "version"),
    "scorecard": ("/nightshift/scorecard/card_payments", "card_payments"),
}


@pytest.mark.parametrize("name", PAGES)
def test_each_page_is_there_and_readable_by_everybody(page: Page, name: str, scheme: str) -> None:
    address, heading = PAGES[name]
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    answer = page.goto(address)
    assert answer is not None
    assert answer.status == 200
    assert heading in page.locator("h1").inner_text()
    assert page.locator("h1").count() == 1
    assert problems(page) == []
    if scheme == "light" and name != "pipeline":  # the docs show that one within Airflow
        picture(page, name)


@pytest.mark.parametrize("name", PAGES)
def test_a_narrow_screen_scrolls_in_one_direction_only(page: Page, name: str) -> None:
    page.set_viewport_size({"width": 320, "height": 800})
    page.goto(PAGES[name][0])
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


def test_the_pages_lie_in_airflows_own_navigation(page: Page) -> None:
    page.goto("/")
    page.get_by_role("button", name="Browse").click()
    page.get_by_role("menuitem", name="Nightshift").click()
    page.frame_locator("iframe").get_by_role("link", name="card_payments").first.click()
    page.frame_locator("iframe").get_by_role("heading", level=1, name="card_payments").wait_for()
    picture(page, "in_airflow")


def test_a_dag_has_a_tab_with_its_pipeline(page: Page) -> None:
    page.goto("/dags/card_payments__daily")
    page.get_by_role("link", name="Nightshift", exact=True).click()
    page.frame_locator("iframe").get_by_role("heading", level=1, name="card_payments").wait_for()


def test_a_frame_leads_airflow_itself_to_a_dag(page: Page) -> None:
    page.goto("/plugin/nightshift")
    page.frame_locator("iframe").get_by_role("link", name="card_payments").first.click()
    page.frame_locator("iframe").locator("a[data-airflow][href='/dags/card_payments__daily']").first.click()
    page.wait_for_url("**/dags/card_payments__daily")
    page.get_by_role("button", name="Trigger").wait_for()
