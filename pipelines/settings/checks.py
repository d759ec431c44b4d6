"""Checks of a pipeline file that need the calendar, another file or more than one setting.

They look at what is written, so that they also speak when another part of the file is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import cast, get_args

from pipelines.errors import ConfigError, did_you_mean, names, quote
from pipelines.partitions import Grain, parse_partition, partition_at
from pipelines.settings.dated_path import form_problem
from pipelines.settings.yaml_source import Document, Place

_CRON_FIELDS = 5
_CRON_PRESETS = ("@hourly", "@daily", "@weekly", "@monthly", "@yearly", "@annually", "@midnight")
_CRON_FIELD = re.compile(r"[\d*/,\-#LW?]+|[A-Za-z]{3}([,\-][A-Za-z]{3})*", re.ASCII)
_PASSWORD_IN_URL = re.compile(r"://[^:/@\s]*:(?!\$\{)[^@\s]+@")
_PLACEHOLDER = re.compile(r"(?<!\$)\{([^}]*)\}")


def check_calendar(document: Document) -> None:
    """`start`, `end` and excluded partitions must be partitions of the grain, and in order."""
    grain = _grain_of(document)
    if grain is None:
        return
    for key in ("start", "end"):
        day = _date(document.text_at(key))
        first = _first_day(day, grain) if day else None
        if day and first != day:
            message = f"'{key}' must be the first day of a {grain}, got {day} (a {day:%A}). Write {first}"
            document.report("E-CONFIG-DATE", (key,), message)
    start = _date(document.text_at("start"))
    for place in _items(document, ("training", "exclude_partitions")):
        _check_excluded(document, place, grain, start)


def _grain_of(document: Document) -> Grain | None:
    grain = cast(Grain, document.text_at("partition") or "day")
    return grain if grain in get_args(Grain) else None


def _check_excluded(document: Document, place: Place, grain: Grain, start: date | None) -> None:
    key = document.text_at(*place)
    if key is None:
        return
    try:
        found = parse_partition(key, grain)
    except ConfigError as error:
        document.report("E-CONFIG-DATE", place, f"in 'training.exclude_partitions' {error.what}")
        return
    if start and found.start.date() < _first_day(start, grain):
        message = f"{quote(key)} in 'training.exclude_partitions' lies before 'start' ({start})"
        document.report("E-CONFIG-DATE", place, message)


def _date(text: str | None) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        return None


def _first_day(day: date, grain: Grain) -> date:
    return partition_at(datetime(day.year, day.month, day.day, tzinfo=UTC), grain).start.date()


def check_schedules(document: Document) -> None:
    """Cron expressions have five fields and mean something."""
    for place in (("schedule",), ("retrain", "schedule")):
        text = document.text_at(*place)
        if text is not None and not is_cron(text):
            message = f'\'{".".join(place)}\' must be a cron expression like "0 2 * * *" or "@daily", got {quote(text)}'
            document.report("E-CONFIG-CRON", place, message)


def is_cron(text: str) -> bool:
    """Five valid fields or a preset; by croniter (it comes with Airflow), else by the shape of the fields."""
    if text.startswith("@"):
        return text in _CRON_PRESETS
    if len(text.split()) != _CRON_FIELDS:
        return False
    try:
        from croniter import croniter
    except ImportError:
        return all(_CRON_FIELD.fullmatch(field) for field in text.split())
    return bool(croniter.is_valid(text))


def check_sources(document: Document) -> None:
    """What paths may be filled in with, and no passwords in the file."""
    for place in _sources(document):
        url, path = document.text_at(*place, "url"), document.text_at(*place, "path")
        if url and _PASSWORD_IN_URL.search(url):
            message = "the password in 'url' must come from the environment. Write '${VARIABLE}' in its place"
            document.report("E-CONFIG-SECRET", (*place, "url"), message)
        for word in sorted(set(_PLACEHOLDER.findall(path or ""))):
            wrong = form_problem(word, _grain_of(document) or "day")
            shown = quote("{" + word + "}")
            message = f"unknown placeholder {shown} in 'path'. Allowed: {{partition}} and ${{VARIABLE}}"
            if wrong is not None:
                document.report("E-CONFIG-VALUE", (*place, "path"), f"{shown} in 'path' {wrong}" if wrong else message)


def _sources(document: Document) -> Iterator[Place]:
    yield ("source",)
    for block in ("dimensions", "label_sources"):
        named = (document.data or {}).get(block)
        yield from ((block, name, "source") for name in (named if isinstance(named, dict) else ()))


def _items(document: Document, place: Place) -> list[Place]:
    return [found for found in document.lines if found[:-1] == place]


def check_suite(document: Document, expectations: Path) -> None:
    """The suite that the pipeline names must lie in `expectations/`."""
    place = ("validate", "suite") if document.text_at("validate", "suite") else ("name",)
    suite = document.text_at(*place)
    if suite is None or (expectations / f"{suite}.json").is_file():
        return
    known = sorted(path.stem for path in expectations.glob("*.json"))
    advice = did_you_mean(suite, known) or (f"Known: {names(known)}" if known else "There is no suite yet")
    document.report("E-CONFIG-SUITE", place, f"the suite 'expectations/{suite}.json' is missing. {advice}")
