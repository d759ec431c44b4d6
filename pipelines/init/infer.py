"""From facts to declared columns: name, type, format and null tokens, each with the evidence for it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from pipelines.ingest.text_types import cast_text
from pipelines.init.profile import EXACT_ROWS, MISSING_IN_TEXTS, Facts
from pipelines.settings.source import Column, ColumnType

_MISREAD = ("y", "n", "yes", "no", "on", "off", "true", "false", "null")  # by some YAML readers
_SYSTEM = ("row_id", "partition", "source_file", "source_line", "record", "reasons", "stage", "target_value", "score")
_ID_NAME = re.compile(r"(^|_)(id|ids|uuid|guid|key|no|nr|number|code|iban|zip|zipcode|postcode|phone)$")
_TIME_NAME = re.compile(r"(^|_)(date|day|dt|at|on|time|timestamp|ts)$")
_DAY_FIRST = ("%d/%m/%Y", "%d.%m.%Y", "%d-%m-%Y", "%d/%m/%y", "%d.%m.%y")
_MONTH_FIRST = ("%m/%d/%Y", "%m-%d-%Y", "%m/%d/%y")
_OTHERS = ("%Y/%m/%d", "%Y.%m.%d", "%d-%b-%Y", "%d %b %Y", "%b %d %Y", "%d %B %Y", "%B %d, %Y", "%Y%m%d")
_CLOCKS = (" %H:%M:%S", " %H:%M", " %I:%M:%S %p", " %I:%M %p", "T%H:%M:%S", " %H:%M:%S.%f")
_COMPACT = ("%Y%m%d%H%M%S", "%Y%m%d%H%M", "%Y%m%d %H%M%S")
_NEARLY = 0.995  # of the values fit: the rest is wrong rather than of another kind
_LONG_ID = 13
_MOST_CATEGORIES = 1_000
_LONG_TEXT, _MOST_BLANKS = 30.0, 1.5
_BOOLEANS = ({"true", "false"}, {"t", "f"}, {"yes", "no"})


@dataclass(frozen=True)
class Declared:
    """One column as it will be declared. `unfit`: values that its type refuses, so that their rows are quarantined."""

    name: str
    facts: Facts
    type: ColumnType
    why: str
    format: str | None = None
    null_tokens: tuple[str, ...] | None = None
    unfit: int = 0
    other_formats: tuple[str, ...] = field(default=(), repr=False)

    @property
    def settings(self) -> dict[str, Any]:
        """What the YAML says of it, but for `required` and `optional`."""
        given: dict[str, Any] = {"type": self.type}
        if self.name != self.facts.source_name:
            given["source_name"] = self.facts.source_name
        if self.format:
            given["format"] = self.format
        if self.null_tokens is not None:
            given["null_tokens"] = list(self.null_tokens)
        return given

    @property
    def column(self) -> Column:
        return Column.model_validate(self.settings)


def column_names(source_names: Iterable[str]) -> dict[str, str]:
    """Name in the source -> name in tables: snake_case, without clashes and names that tables need themselves."""
    made: dict[str, str] = {}
    for source in source_names:
        words = re.sub(r"([a-z0-9])([A-Z])|([A-Z]+)([A-Z][a-z])", r"\1\3_\2\4", source)
        name = re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_") or "column"
        name = (f"c_{name}" if not name[0].isalpha() else name)[:58]
        name = f"{name}_value" if name in (*_SYSTEM, *_MISREAD) else name
        taken, number, free = set(made.values()), 2, name
        while free in taken:
            free, number = f"{name}_{number}", number + 1
        made[source] = free
    return made


def declare(
    facts: Facts, name: str, cells: pa.ChunkedArray | pa.Array, day_first: bool | None = None
) -> Declared | None:
    """The column with the first type that its values fit; None for what no column can hold (lists, bytes).

    `cells`: values of the sample, as the file holds them. `day_first` decides dates that read both ways.
    """
    if facts.native == "other":
        return None
    if facts.native == "number":
        tokens = ("", "nan") if facts.nans else None
        note = f"; NaN in {facts.nans:,} rows means no value" if facts.nans else ""
        return Declared(name, facts, "number", _range(facts) + note, null_tokens=tokens)
    if facts.native == "integer":
        is_id = bool(_ID_NAME.search(name)) and facts.distinct > 0.5 * facts.filled
        return Declared(name, facts, "id" if is_id else "integer", _range(facts))
    if facts.native in ("boolean", "timestamp", "date"):
        return Declared(name, facts, facts.native, "as the file declares it")
    if not facts.meant:
        return Declared(name, facts, "text", "no row has a value")
    texts = cells.cast(pa.string())
    found = None if facts.native == "json_text" else _number(facts, name)
    return found or _time(facts, name, texts, day_first) or _boolean(facts, name) or _words(facts, name)


def _number(facts: Facts, name: str) -> Declared | None:
    if facts.numbers < _NEARLY * facts.meant or (name and _TIME_NAME.search(name) and _is_compact_date(facts)):
        return None
    is_whole = facts.whole >= _NEARLY * facts.meant and facts.whole == facts.numbers
    if facts.padded:
        return Declared(name, facts, "id", f"{facts.padded:,} values begin with 0, which a number would lose")
    if _ID_NAME.search(name) or (is_whole and facts.shortest >= _LONG_ID):
        return Declared(name, facts, "id", f"digits that name something: {_many(facts)}", null_tokens=_tokens(facts))
    unfit = facts.meant - (facts.whole if is_whole else facts.numbers)
    why = _range(facts) + _missing_words(facts)
    return Declared(name, facts, "integer" if is_whole else "number", why, None, _tokens(facts), unfit)


def _is_compact_date(facts: Facts) -> bool:
    return facts.whole == facts.meant and facts.shortest == facts.longest in (8, 12, 14)


def _time(facts: Facts, name: str, texts: pa.Array, day_first: bool | None) -> Declared | None:
    """ISO 8601 first; of the formats that read all of the sample the one that was asked for, else day before month."""
    cells = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    tokens = _tokens(facts) or ("",)
    short = facts.longest <= 40 and facts.shortest >= 6
    fits = [form for form in _forms(name) if short and _reads(cells, form, tokens)]
    if not fits:
        return None
    if day_first is not None and len(fits) > 1:
        fits = sorted(fits, key=lambda form: form[1] in (_DAY_FIRST if day_first else _MONTH_FIRST), reverse=True)
    kind, form = fits[0][0], fits[0][2]
    why = f"all values of the sample read {'as ISO 8601' if form is None else repr(form)}" + _missing_words(facts)
    others = tuple(one[2] for one in fits[1:] if one[2] and form)
    return Declared(name, facts, kind, why, form, _tokens(facts), other_formats=others)


def _forms(name: str) -> list[tuple[ColumnType, str, str | None]]:
    """Type, the date's part of the format, and the format; None: ISO."""
    dates = [*_DAY_FIRST, *_MONTH_FIRST, *(one for one in _OTHERS if one != "%Y%m%d" or _TIME_NAME.search(name))]
    found: list[tuple[ColumnType, str, str | None]] = [("date", "", None), ("timestamp", "", None)]
    found += [("date", one, one) for one in dates]
    found += [("timestamp", one, one + clock) for one in dates for clock in _CLOCKS]
    return found + [("timestamp", "", one) for one in _COMPACT if _TIME_NAME.search(name)]


def _reads(cells: pa.Array, form: tuple[ColumnType, str, str | None], tokens: tuple[str, ...]) -> bool:
    """Whether ingest would read nearly all of these cells; the first hundred decide whether it is worth asking."""
    column = Column(type=form[0], format=form[2])
    for part in (cells.drop_null().slice(0, 100), cells.drop_null()):
        if len(part) and len(cast_text(part, "x", column, tokens)[1]) > (1 - _NEARLY) * len(part):
            return False
    return True


def _boolean(facts: Facts, name: str) -> Declared | None:
    words = {value.lower() for value, _ in facts.top}
    if facts.native == "json_text" or facts.distinct > 6 or not any(words == one for one in _BOOLEANS):
        return None
    return Declared(name, facts, "boolean", " and ".join(f"{value!r} {count:,}" for value, count in facts.top))


def _words(facts: Facts, name: str) -> Declared:
    tokens = tuple(sorted({"", *(one for one in facts.missing if one.strip().lower() in ("", *MISSING_IN_TEXTS))}))
    null_tokens = tokens if len(tokens) > 1 else None
    note = _missing_words(facts, null_tokens or ())
    if facts.mean_length >= _LONG_TEXT or (facts.blanks >= _MOST_BLANKS and facts.distinct > _MOST_CATEGORIES):
        why = f"{facts.mean_length:.0f} characters on average, {_many(facts)}"
        return Declared(name, facts, "text", why + note, null_tokens=null_tokens)
    share = facts.distinct / max(1, facts.meant)
    if facts.distinct > _MOST_CATEGORIES or (share > 0.5 and facts.distinct > 20) or _ID_NAME.search(name):
        kind: ColumnType = "text" if facts.blanks >= 1 and share > 0.5 else "id"
        return Declared(name, facts, kind, _many(facts) + note, null_tokens=null_tokens)
    shown = ", ".join(f"{value} {count / max(1, facts.filled):.0%}" for value, count in facts.top[:3])
    why = f"{facts.distinct:,} values" + (f": {shown}{', ...' if facts.distinct > 3 else ''}" if shown else "")
    return Declared(name, facts, "category", why + note, null_tokens=null_tokens)


def _tokens(facts: Facts) -> tuple[str, ...] | None:
    return ("", *sorted(one for one in facts.missing if one)) if facts.missing else None


def _missing_words(facts: Facts, only: Iterable[str] | None = None) -> str:
    chosen: Mapping[str, int] = {
        word: count for word, count in facts.missing.items() if only is None or word in tuple(only)
    }
    if not chosen:
        return ""
    return "; " + ", ".join(f"{word!r} in {count:,} rows" for word, count in chosen.items()) + " means no value"


def _range(facts: Facts) -> str:
    if facts.low is None or facts.high is None:
        return "no row has a value"
    return f"{facts.low:,.6g} to {facts.high:,.6g}, {_many(facts)}"


def _many(facts: Facts) -> str:
    about = "about " if facts.rows > EXACT_ROWS and facts.distinct > len(facts.top) else ""
    return f"{about}{facts.distinct:,} different in {facts.filled:,} rows"
