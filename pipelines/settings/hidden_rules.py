"""Rules across settings that pydantic judges only once every single value is right.

Without this a wrong number would hide an unknown column until the next run. The wrong values are taken out and the
rules judged on the rest; a rule that talks about something taken out is not reported.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any

from pydantic import BaseModel, ValidationError

from pipelines.settings.messages import report_rule
from pipelines.settings.places import locate
from pipelines.settings.yaml_source import Document, Place

_MOST_ROUNDS = 8
_TAKEN_OUT = object()
# Fits every rule about columns, so that a wrong column raises no second complaint.
_ANY_COLUMN = {"type": "timestamp"}
# Needed keys of a source: without them nothing could be said about its columns.
_STAND_INS = {"path": "stand-in", "url": "stand-in", "query": "stand-in"}


def report_hidden_rules(
    model: type[BaseModel],
    document: Document,
    wrong: Iterable[Place],
    validate: Callable[[type[Any], Any], BaseModel],
    stand_ins: dict[str, str],
) -> None:
    """Adds what the rules of `model` itself say about `document` when the `wrong` places are left out."""
    data = deepcopy(document.data)
    taken: set[str] = set()
    places = set(wrong) | document.refused
    for _ in range(_MOST_ROUNDS):
        if () in places:
            return
        data = _without(data, places, taken)
        data = {**stand_ins, **data}
        try:
            validate(model, data)
        except ValidationError as error:
            items = error.errors(include_url=False)
            places = {locate(model, item["loc"], data).place for item in items}
            if places == {()}:
                _report(items, document, taken)
                return
            continue
        return


def _report(items: list[Any], document: Document, taken: set[str]) -> None:
    for item in items:
        messages = str((item.get("ctx") or {}).get("error", "")).split("; ")
        kept = [text for text in messages if text and not set(re.findall(r"'([^']*)'", text)) & taken]
        if kept:
            report_rule((), "; ".join(kept), document)


def _without(data: Any, places: set[Place], taken: set[str]) -> Any:
    for place in sorted(places, key=len, reverse=True):
        _take_out(data, place, taken)
    return _swept(data)


def _take_out(data: Any, place: Place, taken: set[str]) -> None:
    """Marks the value at `place`; where it is absent (a missing key), the block that lacks it."""
    parent, last = data, place[-1]
    for step in place[:-1]:
        if not _has(parent, step):
            return
        parent = parent[step]
    if len(place) > 1 and last in _STAND_INS and isinstance(parent, dict):
        parent[last] = _STAND_INS[str(last)]
        return
    if not _has(parent, last):
        if len(place) > 1:
            _take_out(data, place[:-1], taken)
        return
    if len(place) > 2 and place[-3] == "columns" and isinstance(parent, dict):
        _take_out_column(data, place[:-1])
        return
    taken.add(str(last))
    parent[last] = _TAKEN_OUT


def _take_out_column(data: Any, place: Place) -> None:
    for step in place[:-1]:
        data = data[step]
    data[place[-1]] = dict(_ANY_COLUMN)


def _has(node: Any, step: str | int) -> bool:
    if isinstance(node, dict):
        return step in node
    return isinstance(node, list) and isinstance(step, int) and step < len(node)


def _swept(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _swept(value) for key, value in node.items() if value is not _TAKEN_OUT}
    return [_swept(value) for value in node if value is not _TAKEN_OUT] if isinstance(node, list) else node
