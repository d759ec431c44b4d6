"""Buttons of a DAG that is paused, on the pages within Airflow's own application, without a server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from pipelines.home import REPOSITORY, Home
from pipelines.ledger import Ledger
from pipelines.runs.airflow_home import passwords

pytestmark = pytest.mark.slow  # 10 s: Airflow makes its database and its application
WAITS = "alpha__daily is paused in Airflow: its runs wait until somebody turns on the switch beside its name there."
ASKED = "/nightshift/actions/alpha/run?partition=2026-03-03"


@pytest.fixture(scope="module")
def admin(airflow_home: Home) -> Iterator[Any]:
    """A client, signed in, of the application that `airflow api-server` serves."""
    from airflow.api_fastapi.app import create_app
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db
    from airflow.utils.db import initdb
    from fastapi.testclient import TestClient
    from nightshift_pages import pages_app
    from starlette.routing import Mount

    initdb()
    DagBundlesManager().sync_bundles_to_db()
    folder = REPOSITORY / "dags"
    sync_bag_to_db(BundleDagBag(dag_folder=folder, bundle_path=folder, bundle_name="nightshift"), "nightshift", None)
    Ledger(airflow_home.ledger_url)
    app = create_app()
    app.router.routes.insert(0, Mount("/nightshift", pages_app(airflow_home)))  # as its plugin does in an API server
    with TestClient(app, base_url="http://testserver", follow_redirects=False) as client:
        given = {"username": "admin", "password": passwords(airflow_home)["admin"]}
        token = client.post("/auth/token", json=given).json()["access_token"]
        client.headers.update({"Authorization": f"Bearer {token}"})
        yield client


def pause(admin: Any, is_paused: bool) -> None:
    answer = admin.patch("/api/v2/dags/alpha__daily?update_mask=is_paused", json={"is_paused": is_paused})
    assert answer.status_code == 200, answer.text


def press(admin: Any) -> str:
    """Presses the button, and returns the page that follows."""
    token = re.search(r'name="token" value="([0-9a-f]{16})"', admin.get(ASKED).text)
    assert token
    answer = admin.post(ASKED, data={"token": token[1]}, headers={"Origin": "http://testserver"})
    assert answer.status_code == 303, answer.text
    return str(admin.get(answer.headers["location"]).text)


def test_who_starts_a_paused_dag_is_told_that_it_waits_before_and_after(admin: Any) -> None:
    pause(admin, True)
    try:
        assert WAITS in admin.get(ASKED).text
        assert WAITS in press(admin)
    finally:
        pause(admin, False)
    assert "paused" not in admin.get(ASKED).text
    assert "paused" not in press(admin)


def test_an_address_cannot_say_that_a_dag_is_paused(admin: Any) -> None:
    address = "/nightshift/partition/alpha/2026-03-03?started=run&run=page__run__0123456789abcdef&paused=yes"
    assert "Airflow has taken the run in." in admin.get(address).text
    assert "paused" not in admin.get(address).text
