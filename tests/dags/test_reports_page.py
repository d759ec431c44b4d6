"""Which files the reports page gives away, and that it asks for a sign-in."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.home import Home
from pipelines.storage.files import LocalFiles, open_files

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
    from nightshift_reports import report_content

    found = report_content(LocalFiles(root), path or "index.html")
    assert found is not None
    assert found[1].decode() == text


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
    from nightshift_reports import report_content

    assert report_content(LocalFiles(root), path) is None


def test_reports_in_a_bucket_are_served_with_their_type_and_policy(
    s3_root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.api_fastapi.core_api.security import get_user
    from fastapi.testclient import TestClient
    from nightshift_pages import pages_app

    files = open_files(s3_root).at("reports")
    for name in ("index.html", "alpha/index.html", "alpha/drift/2026-03-02.html", "alpha/drift/2026-03-02.parquet"):
        files.write(name, name.encode())
    open_files(s3_root).write("secrets.json", b"secret")
    monkeypatch.setenv("NIGHTSHIFT_STORAGE", s3_root)
    app = pages_app(Home(tmp_path, tmp_path / "config"))
    app.dependency_overrides[get_user] = lambda: None
    page = TestClient(app)
    html, drawn = page.get("/reports/alpha"), page.get("/reports/alpha/drift/2026-03-02.html")
    assert (html.text, html.headers["content-type"]) == ("alpha/index.html", "text/html; charset=utf-8")
    assert "script-src" not in html.headers["content-security-policy"]
    assert "script-src 'unsafe-inline'" in drawn.headers["content-security-policy"]
    assert page.get("/reports/alpha/drift/2026-03-02.parquet").headers["content-type"] == "application/octet-stream"
    for path in ("..%2Fsecrets.json", "alpha/%2e%2e/%2e%2e/secrets.json", "%2E%2E%5Csecrets.json", "absent.html"):
        assert page.get(f"/reports/{path}").status_code == 404


def test_every_route_asks_who_is_there(root: Path) -> None:
    """FastAPI applications of Airflow plugins are public unless each route names the user."""
    from airflow.api_fastapi.core_api.security import get_user
    from nightshift_pages import pages_app

    routes = [
        route for route in pages_app(Home(root.parent, root.parent / "config")).routes if hasattr(route, "dependant")
    ]
    assert routes
    for route in routes:
        assert get_user in [dependency.call for dependency in route.dependant.dependencies], route.path


def test_a_report_that_was_never_written_is_explained(root: Path) -> None:
    """The link of `monitor` is there every day, the drift report only on some."""
    from airflow.api_fastapi.core_api.security import get_user
    from fastapi.testclient import TestClient
    from nightshift_pages import pages_app

    app = pages_app(Home(root.parent, root.parent / "config"))
    app.dependency_overrides[get_user] = lambda: None
    answer = TestClient(app).get("/reports/alpha/drift/2026-03-03.html")
    assert answer.status_code == 404
    assert "monitor.report" in answer.text
    assert "/nightshift/reports/index.html" in answer.text


def test_a_report_is_for_those_who_may_read_all_that_it_tells_of(
    airflow_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    import nightshift_pages
    from airflow.api_fastapi.core_api.security import get_user
    from fastapi.testclient import TestClient

    for name in ("index.html", "alpha/drift/2026-03-02.html", "beta/drift/2026-03-02.html"):
        airflow_home.files("reports").write(name, name.encode())
    monkeypatch.setattr(nightshift_pages, "may_read", lambda user, name: name == "alpha")  # noqa: ARG005
    app = nightshift_pages.pages_app(airflow_home)
    app.dependency_overrides[get_user] = lambda: None
    asked = ("alpha/drift/2026-03-02.html", "beta/drift/2026-03-02.html", "index.html", "alpha/../beta/x.html")
    answers = {path: TestClient(app).get(f"/reports/{path}").status_code for path in asked}
    assert answers == dict(zip(asked, (200, 403, 403, 403), strict=True))
