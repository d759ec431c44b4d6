"""The buttons of the pages: each asks first, and then calls Airflow's own API with the caller's own credentials.

So Airflow's permissions, its checks of parameters and its audit log hold as for its own forms; nothing is done with
rights of ours. The call stays in this process and goes to the very application that serves this page.
"""

# No `from __future__ import annotations`: FastAPI reads the routes' annotations, whose imports lie inside a function.

import re
import secrets
from collections.abc import Callable, Mapping
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlencode

from pipelines.home import Home
from pipelines.pages import actions, addresses, offers, proposals
from pipelines.pages.origin import is_from_here

_MOST_BYTES = 20_000
_PASSED_ON = ("authorization", "cookie", "referer")
_NO_RIGHT = "Your role in Airflow may not start this DAG. An administrator can change that."
_FOREIGN = "This request did not come from a page of this server, so nothing was started. Open the page here."


def add_actions(app: Any, home: Home, html: Callable[..., Any], require_readable: Callable[[Any, str], None]) -> None:
    """Routes below /actions: GET shows what will happen and asks, POST does it."""
    from airflow.api_fastapi.core_api.security import GetUserDep
    from anyio import from_thread
    from fastapi import Depends, HTTPException, Request
    from fastapi.responses import RedirectResponse, Response

    async def form(request: Request) -> dict[str, str]:
        content = b""
        async for part in request.stream():
            content += part
            if len(content) > _MOST_BYTES:
                raise HTTPException(413, "That is more text than a reason needs.")
        return dict(parse_qsl(content.decode(errors="replace"), keep_blank_values=True))

    Answers = Annotated[dict[str, str], Depends(form)]

    @app.get("/actions/{name}/{action}")
    def ask(name: str, action: str, request: Request, user: GetUserDep) -> Response:
        require_readable(user, name)
        given = dict(request.query_params)
        one = proposals.proposal(home, name, action, given)
        if not may_start(user, one.dag_id):
            return html(_question(one, given, [], _NO_RIGHT), 403)
        return html(_question(one, given, [], is_paused=is_paused(request, one.dag_id)))

    @app.post("/actions/{name}/{action}")
    def act(name: str, action: str, request: Request, user: GetUserDep, answers: Answers) -> Response:
        if not is_from_here(request.headers, _base_url()):
            raise HTTPException(403, _FOREIGN)
        require_readable(user, name)
        one = proposals.proposal(home, name, action, dict(request.query_params))
        token = answers.get("token", "")
        wrong = actions.problems(home, one, answers)
        if not re.fullmatch(r"[0-9a-f]{16}", token):
            wrong = ["The form was not complete. It is here again: look at it and press the button."]
        if wrong or one.refusal:
            page = _question(one, answers, wrong, is_paused=is_paused(request, one.dag_id))
            return html(page, 409 if one.refusal else 422)
        path, body = actions.request(home, one, answers, token)
        status, said = from_thread.run(call_airflow, request, "POST", path, body)
        if status == 403:
            return html(_question(one, answers, [], _NO_RIGHT), 403)
        # 409 of a run: this very form was sent before, so what it asks for is done.
        if status < 300 or (status == 409 and action != "backfill"):
            run = str(said.get("id") if action == "backfill" else actions.run_id(action, token))
            return RedirectResponse(f"{one.back}?{urlencode({'started': action, 'run': run})}", 303)
        return html(_question(one, answers, in_words(status, said)), status)


def may_start(user: Any, dag_id: str) -> bool:
    """Whether Airflow lets this user start runs of the DAG."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails

    allowed = get_auth_manager().is_authorized_dag(
        method="POST", access_entity=DagAccessEntity.RUN, details=DagDetails(id=dag_id), user=user
    )
    return bool(allowed)


def is_paused(request: Any, dag_id: str) -> bool:
    """Whether Airflow starts no task of this DAG, as it tells the caller; False where it does not say."""
    from anyio import from_thread

    status, said = from_thread.run(call_airflow, request, "GET", f"/api/v2/dags/{dag_id}")
    return status == 200 and said.get("is_paused") is True


def with_state(request: Any, name: str) -> dict[str, str]:
    """What the address of a page says; that a DAG which was just started is paused says Airflow alone."""
    query = {key: value for key, value in request.query_params.items() if key != offers.PAUSED}
    dag_id = offers.started(name, query)
    return query | ({offers.PAUSED: dag_id} if dag_id and is_paused(request, dag_id) else {})


async def call_airflow(
    request: Any, method: str, path: str, body: Mapping[str, Any] | None = None
) -> tuple[int, dict[str, Any]]:
    """Status and answer of Airflow's public API, within this process and with the rights of who sent `request`."""
    import httpx

    transport = httpx.ASGITransport(app=request.scope["nightshift.airflow"], raise_app_exceptions=False)
    headers = {key: request.headers[key] for key in _PASSED_ON if key in request.headers}
    async with httpx.AsyncClient(transport=transport, base_url=_base_url() or "http://localhost", timeout=60) as client:
        answer = await client.request(method, path, json=body, headers=headers)
    try:
        said = answer.json()
    except ValueError:
        said = {"detail": answer.text[:500]}
    return answer.status_code, said if isinstance(said, dict) else {"detail": said}


def in_words(status: int, said: Mapping[str, Any]) -> list[str]:
    """Airflow's answer to a refused request as sentences."""
    detail = said.get("detail") or f"status {status}"
    if status == 404:
        return [f"Airflow does not know this DAG (yet): {detail}. It appears within half a minute of a change."]
    if isinstance(detail, list):  # one entry per field
        return [
            f"Airflow refuses it: {entry.get('msg', entry) if isinstance(entry, dict) else entry}" for entry in detail
        ]
    if isinstance(detail, dict):
        detail = detail.get("message") or detail.get("reason") or detail
    return [f"Airflow refuses it: {detail}"]


def _question(
    one: actions.Proposal, answers: Mapping[str, str], wrong: list[str], blocked: str = "", is_paused: bool = False
) -> str:
    from pipelines.pages.rendering import render

    return render(
        "action",
        way=[(one.pipeline, addresses.pipeline(one.pipeline))],
        one=one,
        answers=answers,
        problems=wrong,
        blocked=blocked or one.refusal,
        paused=offers.paused(one.dag_id) if is_paused else "",
        address=addresses.action(one.pipeline, one.action, **one.settled),
        token=secrets.token_hex(8),
    )


def _base_url() -> str:
    from airflow.configuration import conf

    return str(conf.get("api", "base_url", fallback="") or "")
