"""The web application behind Nightshift's entries in the Airflow UI: pages from the ledger, and the written reports.

Everything asks for a sign-in, and a pipeline is shown to those who may read its daily DAG in Airflow.
"""

# No `from __future__ import annotations`: FastAPI reads the routes' annotations, whose imports lie inside a function.

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from nightshift_actions import add_actions, may_start, with_state
from nightshift_reports import report_answer

from pipelines.errors import NightshiftError
from pipelines.home import Home
from pipelines.pages import addresses
from pipelines.report.status import pipelines_known

# Our own HTML, styles and one script; nothing from elsewhere. Forms go back to this server only.
_POLICY = (
    "default-src 'none'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; font-src data:; script-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
)
_TITLES = {401: "Sign in first", 403: "Not allowed"}


def pages_app(home: Home) -> Any:
    """A FastAPI application over one home."""
    from airflow.api_fastapi.core_api.security import GetUserDep
    from fastapi import FastAPI, Request
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import HTMLResponse, RedirectResponse, Response
    from fastapi.staticfiles import StaticFiles
    from starlette.exceptions import HTTPException

    from pipelines.pages import compare, offers, overview, partition, pipeline, scorecard, version
    from pipelines.pages.known import ledger_of
    from pipelines.pages.of_run import pipeline_of, place_of_run
    from pipelines.pages.rendering import render

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:  # noqa: ARG001
        overview.load(home)
        spare_collections()
        yield

    class Pages(FastAPI):
        """Remembers the application that it is mounted in, whose API the buttons call."""

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            scope.setdefault("nightshift.airflow", scope.get("app"))
            await super().__call__(scope, receive, send)

    app = Pages(title="Nightshift", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.mount("/static", StaticFiles(packages=[("pipelines.pages", "static")]), name="static")

    def html(text: str, status: int = 200) -> Response:
        return HTMLResponse(text, status, {"Content-Security-Policy": _POLICY, "Cache-Control": "no-store"})

    @app.exception_handler(NightshiftError)
    def failed(request: Request, error: NightshiftError) -> Response:  # noqa: ARG001
        return html(render("missing", way=[], text=str(error)), 404)

    @app.exception_handler(RequestValidationError)
    def not_understood(request: Request, error: RequestValidationError) -> Response:  # noqa: ARG001
        return html(render("missing", way=[], text="This address names nothing that there could be."), 404)

    @app.exception_handler(HTTPException)
    def refused(request: Request, error: HTTPException) -> Response:  # noqa: ARG001
        title = _TITLES.get(error.status_code, "Nothing here")
        return html(render("missing", way=[], title=title, text=str(error.detail)), error.status_code)

    add_actions(app, home, html, require_readable)

    @app.get("/")
    def overview_page(user: GetUserDep) -> Response:
        return html(overview.page(home, lambda name: may_read(user, name)))

    @app.get("/pipeline/{name}")
    def pipeline_page(
        name: str,
        request: Request,
        user: GetUserDep,
        until: str | None = None,
        kind: str | None = None,
        before: int | None = None,
        upto: int | None = None,
    ) -> Response:
        require_readable(user, name)
        buttons = offers.of_pipeline(home, name, lambda dag: may_start(user, dag))
        notice = offers.notice(name, with_state(request, name))
        return html(pipeline.page(home, name, until, kind, before, upto, buttons, notice))

    @app.get("/scorecard/{name}")
    def scorecard_page(name: str, user: GetUserDep) -> Response:
        require_readable(user, name)
        return html(scorecard.page(home, name))

    @app.get("/partition/{name}/{key}")
    def partition_page(name: str, key: str, request: Request, user: GetUserDep) -> Response:
        require_readable(user, name)
        return html(partition.page(home, name, key, lambda dag: may_start(user, dag), with_state(request, name)))

    @app.get("/version/{name}/{number}")
    def version_page(name: str, number: int, request: Request, user: GetUserDep) -> Response:
        require_readable(user, name)
        return html(version.page(home, name, number, lambda dag: may_start(user, dag), with_state(request, name)))

    @app.get("/compare/{name}")
    def compare_page(name: str, user: GetUserDep, left: int | None = None, right: int | None = None) -> Response:
        require_readable(user, name)
        return html(compare.page(home, name, left, right))

    @app.get("/of/dag/{dag_id}")
    def page_of_dag(dag_id: str, user: GetUserDep) -> Response:  # noqa: ARG001 - the page itself asks who may read
        name = pipeline_of(dag_id)
        return RedirectResponse(addresses.pipeline(name) if name else addresses.overview())

    @app.get("/of/run")
    def page_of_run(dag_id: str, run_id: str, user: GetUserDep) -> Response:
        if name := pipeline_of(dag_id):
            require_readable(user, name)
        return RedirectResponse(place_of_run(ledger_of(home), dag_id, run_id))

    @app.get("/reports/{path:path}")
    def report(path: str, user: GetUserDep) -> Response:
        for name in told_of(home, path):
            require_readable(user, name)
        return report_answer(home.files("reports"), path)

    return app


def spare_collections() -> None:
    """Python's full collections leave out what the server has imported by now. Through all of it each one holds every
    request up for a quarter of a second, and finds nothing: modules stay."""
    gc.collect()
    gc.freeze()


def told_of(home: Home, path: str) -> list[str]:
    """The pipelines that a report tells of: its folder's, or all in a morning report."""
    known = pipelines_known(home)
    return [name for name in known if path.startswith(f"{name}/")] or known


def may_read(user: Any, name: str) -> bool:
    """Whether Airflow lets this user read the pipeline's daily DAG."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.models.resource_details import DagDetails

    return bool(get_auth_manager().is_authorized_dag(method="GET", details=DagDetails(id=f"{name}__daily"), user=user))


def require_readable(user: Any, name: str) -> None:
    """Raises fastapi.HTTPException 403 for a pipeline that this user may not read."""
    from fastapi import HTTPException

    if not may_read(user, name):
        raise HTTPException(403, f"You may not read the DAGs of '{name}' in Airflow; ask an administrator.")
