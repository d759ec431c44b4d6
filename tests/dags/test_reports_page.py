"""Which files the reports page gives away, and that it asks for a sign-in."""

from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("airflow_home")  # Airflow is set up before its first import


@pytest.fixture
def root(tmp_path: Path) -> Path:
    reports = tmp_path / "reports"
    (reports / "alpha" / "drift").mkdir(parents=True)
    (reports / "index.html").write_text("morning")
    (reports / "alpha" / "drift" / "2026-03-02.html").write_text("drift")
    (tmp_path / "secrets.json").write_text("secret")
    (tmp_path / "reports-old").mkdir()
    (tmp_path / "reports-old" / "index.html").write_text("sibling")
    (reports / "link.html").symlink_to(tmp_path / "secrets.json")
    (reports / "out").symlink_to(tmp_path)
    return reports


@pytest.mark.parametrize(
    ("path", "text"),
    [("index.html", "morning"), ("", "morning"), ("alpha/drift/2026-03-02.html", "drift")],
)
def test_reports_are_found(root: Path, path: str, text: str) -> None:
    from nightshift_plugin import report_file

    file = report_file(root, path)
    assert file is not None
    assert file.read_text() == text


@pytest.mark.parametrize(
    "path",
    [
        "../secrets.json",
        "alpha/../../secrets.json",
        "../reports-old/index.html",  # a prefix compared as text would let it through
        "link.html",
        "out/secrets.json",
        "/etc/passwd",
        "alpha",  # a folder without index
        "absent.html",
        "a\x00b",
    ],
)
def test_nothing_outside_is_given_away(root: Path, path: str) -> None:
    from nightshift_plugin import report_file

    assert report_file(root, path) is None


def test_every_route_asks_who_is_there(root: Path) -> None:
    """FastAPI applications of Airflow plugins are public unless each route names the user."""
    from airflow.api_fastapi.core_api.security import get_user
    from nightshift_plugin import reports_app

    routes = [route for route in reports_app(root).routes if hasattr(route, "dependant")]
    assert routes
    for route in routes:
        assert get_user in [dependency.call for dependency in route.dependant.dependencies], route.path


def test_a_report_that_was_never_written_is_explained(root: Path) -> None:
    """The link of `monitor` is there every day, the drift report only on some."""
    from airflow.api_fastapi.core_api.security import get_user
    from fastapi.testclient import TestClient
    from nightshift_plugin import reports_app

    app = reports_app(root)
    app.dependency_overrides[get_user] = lambda: None
    answer = TestClient(app).get("/reports/alpha/drift/2026-03-03.html")
    assert answer.status_code == 404
    assert "monitor.report" in answer.text
    assert "/nightshift/reports/index.html" in answer.text
