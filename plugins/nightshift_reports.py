"""The reports that runs write, for people who are signed in: morning report, model cards, Data Docs, drift reports."""

from __future__ import annotations

import mimetypes
from typing import Any

from pipelines.pages.addresses import PREFIX
from pipelines.storage.files import Files, LocalFiles

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
    link = f"<p><a href='{PREFIX}/reports/index.html'>the morning report</a></p>"
    return f"<!doctype html><title>Nightshift</title><body style='font:16px/1.5 system-ui'><p>{text}</p>{link}</body>"


def report_answer(files: Files, path: str) -> Any:
    """A response with the file that `path` names below the reports folder, or a page that says why there is none."""
    from fastapi.responses import HTMLResponse, Response

    found = report_content(files, path or "index.html")
    if found is None:
        is_index = path in ("", "index.html")
        return HTMLResponse(_message(_NOT_WRITTEN_YET if is_index else _ABSENT), 200 if is_index else 404)
    name, content = found
    scripts = _DRAWS if name.split("/")[-2:-1] == ["drift"] else ""
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return Response(content, 200, {"Content-Security-Policy": _POLICY.format(scripts=scripts)}, kind)
