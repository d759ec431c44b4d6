"""The Nightshift pages in the Airflow UI: reports of this home, for people who are signed in."""

import mimetypes
import sys
from typing import Any

from airflow.plugins_manager import AirflowPlugin

from pipelines.storage.files import Files, LocalFiles

_PREFIX = "/nightshift"
# Reports are our own HTML without scripts or network; a browser holds them to it.
_POLICY = (
    "default-src 'none'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; font-src data:; "
    "{scripts}frame-ancestors 'self'"
)
_NOT_WRITTEN_YET = "No report yet. It is written when the first partition has run."
_ABSENT = (
    "There is no such report. A drift report is written for the decisions that 'monitor.report' of the pipeline's file "
    "names; checks are written once 'validate' has run."
)
# Evidently draws with the scripts that it writes into its page.
_DRAWS = "script-src 'unsafe-inline'; "


def report_content(files: Files, path: str) -> tuple[str, bytes] | None:
    """Name and content of the report that `path` names; None when there is none, or when it leads out (`..`, links)."""
    path = path.removesuffix("/")
    if any(part in ("", ".", "..") or "\\" in part or not part.isprintable() for part in path.split("/")):
        return None
    for name in (path, f"{path}/index.html"):
        if _is_inside(files, name):
            content = files.read(name)
            if content is not None:
                return name, content
    return None


def _is_inside(files: Files, name: str) -> bool:
    """Whether a file of a folder really lies there; an object store has no links."""
    if not isinstance(files, LocalFiles):
        return True
    base = files.folder.resolve()
    try:
        file = (base / name).resolve()
    except (OSError, ValueError):  # a loop of links
        return False
    return file.is_relative_to(base) and file.is_file()


def _message(text: str) -> str:
    link = f"<p><a href='{_PREFIX}/reports/index.html'>the morning page</a></p>"
    return f"<!doctype html><title>Nightshift</title><body style='font:16px/1.5 system-ui'><p>{text}</p>{link}</body>"


def reports_app(files: Files) -> Any:
    """A FastAPI application that serves the reports to signed-in users."""
    from airflow.api_fastapi.core_api.security import GetUserDep
    from fastapi import FastAPI
    from fastapi.responses import HTMLResponse, Response

    app = FastAPI(title="Nightshift reports", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/reports/{path:path}")
    def report(path: str, user: GetUserDep) -> Any:  # noqa: ARG001 - naming the user is what asks for a sign-in
        found = report_content(files, path or "index.html")
        if found is None:
            is_index = path in ("", "index.html")
            return HTMLResponse(_message(_NOT_WRITTEN_YET if is_index else _ABSENT), 200 if is_index else 404)
        name, content = found
        scripts = _DRAWS if name.split("/")[-2:-1] == ["drift"] else ""
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        return Response(content, 200, {"Content-Security-Policy": _POLICY.format(scripts=scripts)}, kind)

    return app


def _apps() -> list[dict[str, Any]]:
    """The application, only where it is served: each task process imports this file, too."""
    if "api-server" not in sys.argv[:2] and "api_server" not in " ".join(sys.argv[:2]):
        return []
    from pipelines.home import Home

    return [{"app": reports_app(Home.resolve().files("reports")), "url_prefix": _PREFIX, "name": "nightshift"}]


class NightshiftPlugin(AirflowPlugin):
    name = "nightshift"
    fastapi_apps = _apps()
    external_views = [
        {
            "name": "Nightshift",
            "href": f"{_PREFIX}/reports/index.html",
            "destination": "nav",
            "category": "browse",
            "url_route": "nightshift",
        }
    ]
