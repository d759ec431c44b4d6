"""Turns pydantic's errors into problems that a person can act on, each at its line."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pipelines.errors import did_you_mean, quote
from pipelines.settings.places import Spot, choices, declared_fields, locate
from pipelines.settings.yaml_source import Document, Place, plain_value

_NAME_RULE = "start with a lower-case letter and hold only a-z, 0-9 and _ (at most 63)"
# pydantic's error type -> what the value must be.
_MUST_BE: dict[str, Callable[[dict[str, Any]], str]] = {
    "int_type": lambda _: "be a whole number",
    "int_parsing": lambda _: "be a whole number",
    "int_from_float": lambda _: "be a whole number",
    "float_type": lambda _: "be a number",
    "float_parsing": lambda _: "be a number",
    "finite_number": lambda _: "be a finite number",
    "bool_type": lambda _: "be true or false",
    "bool_parsing": lambda _: "be true or false",
    "string_type": lambda _: "be text",
    "dict_type": lambda _: "be a block of 'key: value' lines",
    "model_type": lambda _: "be a block of 'key: value' lines",
    "model_attributes_type": lambda _: "be a block of 'key: value' lines",
    "tuple_type": lambda _: "be a list like [a, b]",
    "list_type": lambda _: "be a list like [a, b]",
    "date_type": lambda _: "be a date like 2026-03-02",
    "date_parsing": lambda _: "be a date that exists, like 2026-03-02",
    "date_from_datetime_parsing": lambda _: "be a date that exists, like 2026-03-02",
    "date_from_datetime_inexact": lambda _: "be a date without time, like 2026-03-02",
    "greater_than": lambda context: f"be above {context['gt']:g}",
    "greater_than_equal": lambda context: f"be at least {context['ge']:g}",
    "less_than": lambda context: f"be below {context['lt']:g}",
    "less_than_equal": lambda context: f"be at most {context['le']:g}",
    "string_pattern_mismatch": lambda _: _NAME_RULE,
    "string_too_short": lambda context: f"have at least {context['min_length']} character(s)",
    "string_too_long": lambda context: f"have at most {context['max_length']} character(s)",
    "too_short": lambda context: f"have at least {context['min_length']} item(s)",
    "too_long": lambda context: f"have at most {context['max_length']} item(s)",
}
_UNKNOWN_COLUMN = re.compile(r"^'([\w.]+)' names the unknown \w+(?: \w+)? '([^']*)'")


def report_errors(error: ValidationError, model: type[BaseModel], document: Document) -> None:
    """Adds one problem per mistake; places that already have a problem, and what lies below them, are left out."""
    found = [(locate(model, item["loc"], document.data), item) for item in error.errors(include_url=False)]
    for spot, item in _without_noise(found):
        if not _is_refused(spot.place, item["type"], document):
            _report(spot, item, document)


def _without_noise(found: list[tuple[Spot, ErrorDetails]]) -> Iterator[tuple[Spot, ErrorDetails]]:
    """Of the errors that all members of a union raise, the one that fits what was written."""
    places = [spot.place for spot, _ in found]
    seen: set[Place] = set()
    for spot, item in found:
        if not spot.in_union:
            yield spot, item
            continue
        goes_deeper = any(other[: len(spot.place)] == spot.place and len(other) > len(spot.place) for other in places)
        rivals = [other["type"] for near, other in found if near.place == spot.place]
        is_noise = item["type"] == "model_type" and len(rivals) > 1
        # A block that stands where a list or a block may stand, and says of no known kind that it is.
        is_noise |= item["type"] == "tuple_type" and any(rival.startswith("union_tag") for rival in rivals)
        if goes_deeper or spot.place in seen or is_noise:
            continue
        seen.add(spot.place)
        if {"float_type", "string_type"} <= set(rivals):
            item = item | {"type": "number_or_text"}
        yield spot, item


def _is_refused(place: Place, kind: str, document: Document) -> bool:
    if kind == "extra_forbidden":
        return False
    if any(place[: len(refused)] == refused for refused in document.refused):
        return True
    is_short_or_checked = kind in ("too_short", "value_error")
    return is_short_or_checked and any(refused[: len(place)] == place and place for refused in document.refused)


def _report(spot: Spot, item: ErrorDetails, document: Document) -> None:
    kind, context = item["type"], item.get("ctx") or {}
    if kind == "value_error":
        report_rule(spot.place, str(context["error"]), document)
    elif kind == "extra_forbidden":
        document.report("E-CONFIG-UNKNOWN", spot.place, unknown_key(spot.owner, spot.place))
    elif kind == "missing":
        document.report("E-CONFIG-MISSING", spot.place, _missing(spot))
    elif kind == "union_tag_not_found":
        _report_tag_missing(spot, context, document)
    elif kind in ("union_tag_invalid", "literal_error"):
        _report_choice(spot, kind, context, document)
    else:
        document.report("E-CONFIG-VALUE", spot.place, _wrong_value(spot.place, kind, item, document))


def unknown_key(owner: type[BaseModel] | None, place: Place) -> str:
    """`unknown key 'recencey_days' in 'source'. Did you mean 'recency_days'? Allowed: ...`"""
    allowed = [key for key in declared_fields(owner) if key != "feature_groups"] if owner else []
    inside = f" in {name_of(place[:-1])}" if len(place) > 1 else ""
    hint = did_you_mean(str(place[-1]), allowed)
    return f"unknown key {quote(place[-1])}{inside}. {hint + ' ' if hint else ''}Allowed: {', '.join(allowed)}"


def _missing(spot: Spot) -> str:
    inside = f" in {name_of(spot.place[:-1])}" if len(spot.place) > 1 else ""
    if spot.owner is None:
        return f"an item is missing{inside}"
    what = spot.field.description if spot.field and spot.field.description else ""
    return f"the key {quote(spot.place[-1])} is missing{inside}" + (f" ({what})" if what else "")


def _report_tag_missing(spot: Spot, context: dict[str, Any], document: Document) -> None:
    key = str(context["discriminator"]).strip("'")
    words = sorted(_tags(spot.declared, key))
    allowed = f" It must be one of {', '.join(words)}" if words else ""
    document.report("E-CONFIG-MISSING", spot.place, f"the key '{key}' is missing in {name_of(spot.place)}.{allowed}")


def _tags(declared: Any, key: str) -> Iterator[str]:
    from typing import get_args

    for member in get_args(declared):
        field = declared_fields(member).get(key) if isinstance(member, type) else None
        yield from get_args(field.annotation) if field else ()


def _report_choice(spot: Spot, kind: str, context: dict[str, Any], document: Document) -> None:
    place = spot.place
    if kind == "union_tag_invalid":
        place = (*place, str(context["discriminator"]).strip("'"))
        allowed: tuple[str, ...] = tuple(re.findall(r"'([^']*)'", context["expected_tags"]))
    else:
        allowed = choices(spot.declared) or tuple(re.findall(r"'([^']*)'", context["expected"]))
    written = _written(place, document)
    must = f"be '{allowed[0]}'" if len(allowed) == 1 else f"be one of {', '.join(allowed)}"
    hint = did_you_mean(str(document.value_at(place)), allowed)
    message = f"{name_of(place)} must {must}, got {written}" + (f". {hint}" if hint else "")
    document.report("E-CONFIG-VALUE", place, message)


def _wrong_value(place: Place, kind: str, item: ErrorDetails, document: Document) -> str:
    written = _written(place, document)
    if item["loc"] and item["loc"][-1] == "[key]":
        return f"the key {quote(place[-1])} must {_NAME_RULE}"
    if kind == "number_or_text":
        return f"{name_of(place)} must be a number or text, got {written}"
    rule = _MUST_BE.get(kind)
    if rule is None:
        return f"{name_of(place)}: {item['msg']}, got {written}"
    advice = _about_quotes(kind, document.value_at(place))
    if kind in ("too_short", "too_long"):
        written = f"{len(item['input'])}"
    return f"{name_of(place)} must {rule(item.get('ctx') or {})}, got {written}{advice}"


def _about_quotes(kind: str, value: Any) -> str:
    """Quotes make text of a number, and a number needs them to be text."""
    if kind == "string_type" and isinstance(value, bool | int | float):
        return ". Put it in quotes"
    wanted = {"bool_type": bool, "int_type": int, "float_type": float | int}.get(kind)
    if wanted and isinstance(value, str) and isinstance(plain_value(value), wanted):
        return ". Leave out the quotes"
    return ""


def report_rule(base: Place, text: str, document: Document) -> None:
    """Problems that the settings class at `base` found itself; it may join several by '; '."""
    for message in text.split("; "):
        place, hint = _place_of_rule(base, message, document), ""
        unknown = _UNKNOWN_COLUMN.match(message)
        if unknown and not base:
            hint = did_you_mean(unknown[2], document.value_at(("source", "columns")) or {})
        prefix = "" if not base or "'" in message else f"{name_of(base)}: "
        code = "E-CONFIG-COLUMN" if unknown else "E-CONFIG-RULE"
        document.report(code, place, prefix + message + (f". {hint}" if hint else ""), document.line_of(place) or 1)


def _place_of_rule(base: Place, message: str, document: Document) -> Place:
    """The place that a message talks about: its first quoted path, then the item in it that is quoted too."""
    words = re.findall(r"'([^']*)'", message)
    for word in words:
        place = (*base, *word.split("."))
        if place not in document.lines:
            continue
        inside = [item for item in document.lines if item[:-1] == place and document.value_at(item) in words[1:]]
        keys = [(*place, other) for other in words if (*place, other) in document.lines]
        return next(iter(inside + keys), place)
    return base


def name_of(place: Place) -> str:
    """`'source.columns.amount_eur'`; items of a list are counted from 1: `'features.groups', item 2`."""
    path: list[str] = []
    position = 0
    for step in place:
        position = step + 1 if isinstance(step, int) else 0
        if isinstance(step, str):
            path.append(step)
    shown = quote(".".join(path)) if path else "the file"
    return f"item {position} of {shown}" if position else shown


def _written(place: Place, document: Document) -> str:
    """The value as it stands in the file."""
    if place in document.texts:
        return quote(document.texts[place]) if document.texts[place] else "nothing"
    value = document.value_at(place)
    if isinstance(value, dict):
        return "a block" if value else "an empty block"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    return "nothing" if value is None else quote(value)
