"""The Nightshift pages in the Airflow UI: reports of this home, for people who are signed in."""

import sys
from pathlib import Path
from typing import Any

from airflow.plugins_manager import AirflowPlugin

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


def report_file(root: Path, path: str) -> Path | None:
    """The file below `root` that `path` names; None when there is none, or when it leads out (`..`, links)."""
    base = root.resolve()
    try:
        file = (base / path).resolve()
    except (OSError, ValueError):  # a loop of links, a null byte
        return None
    if not file.is_relative_to(base):
        return None
    file = file / "index.html" if file.is_dir() else file
    return file if file.is_file() and file.resolve().is_relative_to(base) else None


def _message(text: str) -> str:
    link = f"<p><a href='{_PREFIX}/reports/index.html'>the morning page</a></p>"
    return f"<!doctype html><title>Nightshift</title><body style='font:16px/1.5 system-ui'><p>{text}</p>{link}</body>"


def reports_app(root: Path) -> Any:
    """A FastAPI application that serves the files below `root` to signed-in users."""
    from airflow.api_fastapi.core_api.security import GetUserDep
    from fastapi import FastAPI
    from fastapi.responses import FileResponse, HTMLResponse

    app = FastAPI(title="Nightshift reports", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/reports/{path:path}")
    def report(path: str, user: GetUserDep) -> Any:  # noqa: ARG001 - naming the user is what asks for a sign-in
        file = report_file(root, path or "index.html")
        if file is None:
            is_index = path in ("", "index.html")
            return HTMLResponse(_message(_NOT_WRITTEN_YET if is_index else _ABSENT), 200 if is_index else 404)
        scripts = _DRAWS if file.parent.name == "drift" else ""
        return FileResponse(file, headers={"Content-Security-Policy": _POLICY.format(scripts=scripts)})

    return app


def _apps() -> list[dict[str, Any]]:
    """The application, only where it is served: each task process imports this file, too."""
    if "api-server" not in sys.argv[:2] and "api_server" not in " ".join(sys.argv[:2]):
        return []
    from pipelines.home import Home

    return [{"app": reports_app(Home.resolve().root / "reports"), "url_prefix": _PREFIX, "name": "nightshift"}]


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
