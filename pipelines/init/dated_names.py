"""The date in the names of files: in which form it stands, and the path in which it is the partition."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

# The first one that fits all files. Month and day behind each other with the year last, as in 03-04-2026, are missing
# where no file tells which is which (see _READ_BOTH_WAYS).
_FORMS = (
    *("%Y-%m-%dT%H", "%Y-%m-%d", "%Y%m%dT%H", "%Y%m%d%H", "%Y%m%d", "%Y_%m_%d", "%Y.%m.%d", "%d.%m.%Y"),
    *("year=%Y/month=%m/day=%d", "%Y/%m/%d", "%Y-%m", "%Y_%m", "%Y.%m", "%Y%m", "year=%Y/month=%m", "%Y/%m"),
)
_READ_BOTH_WAYS = tuple((f"%d{mark}%m{mark}%Y", f"%m{mark}%d{mark}%Y") for mark in ("-", "_", ""))
_DIGITS = {"%Y": "(?:19|20)[0-9]{2}", "%m": "[0-9]{2}", "%d": "[0-9]{2}", "%H": "[0-9]{2}"}
_USUAL = ("%Y-%m-%dT%H", "%Y-%m-%d")  # as partitions are called, so that the path says only {partition}

Dated = tuple[str, tuple[str, ...]]


def dated_pattern(files: Sequence[Path]) -> Dated | tuple[None, tuple[()]]:
    """The path with its date as `{partition}` and each file's partition; None unless every path holds one date
    (perhaps several times) that no other file has, and is the same but for it."""
    for form in _FORMS:
        if found := _by_form(files, form):
            return found
    for forms in _READ_BOTH_WAYS:
        fitting = [found for form in forms if (found := _by_form(files, form))]
        if len(fitting) == 1:
            return fitting[0]
    return None, ()


def _by_form(files: Sequence[Path], form: str) -> Dated | None:
    code = re.compile(_regex(form))
    place = "{partition}" if form in _USUAL else f"{{partition:{form}}}"
    patterns, keys = set(), []
    for file in files:
        dates = {text: day for text in code.findall(str(file)) if (day := _date(text, form))}
        if not dates:
            return None
        last = max(dates, key=str(file).rfind)
        # By what stands between the matches: the digits may stand within a longer number, too.
        patterns.add("".join(place if part == last else part for part in re.split(f"({code.pattern})", str(file))))
        keys.append(dates[last].strftime("%Y-%m-%dT%H" if "%H" in form else "%Y-%m-%d"))
    return (patterns.pop(), tuple(keys)) if len(patterns) == 1 and len(set(keys)) == len(keys) else None


def _regex(form: str) -> str:
    """Not within a longer number; a month is not the beginning of a day."""
    digits = re.sub(r"%[YmdH]", lambda code: _DIGITS[code[0]], re.escape(form))
    longer = "" if "%d" in form else "(?![-_./][0-9]{2}(?![0-9]))"
    return f"(?<![0-9]){digits}(?![0-9]){longer}"


def _date(text: str, form: str) -> datetime | None:
    try:
        return datetime.strptime(text, form)
    except ValueError:
        return None
