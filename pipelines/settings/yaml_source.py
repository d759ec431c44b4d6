"""Reads one YAML file strictly: plain data, the line of every key, and what a reader could misunderstand.

YAML 1.1 turns `no` into false, `012` into 10 and `1:30` into 90, and lets the last of two equal keys win
(https://yaml.org/type/). Here such a value is a problem with its line instead of a surprise at night. Anchors, merge
keys, tags and further documents are refused: a pipeline file is data that can be read from top to bottom.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from pipelines.errors import quote
from pipelines.settings.problems import Problem
from pipelines.settings.yaml_syntax import syntax_problem

Place = tuple[str | int, ...]

_FAST = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # a PyYAML built without libyaml has only its own

MAX_BYTES = 1_000_000
MAX_DEPTH = 30

_NULL = re.compile(r"~|null|Null|NULL|")
_BOOLEAN = re.compile(r"true|True|TRUE|false|False|FALSE")
_BOOLEAN_TRAP = re.compile(r"yes|no|on|off|y|n", re.IGNORECASE)
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9_]+")
_OTHER_BASE = re.compile(r"[-+]?0(x[0-9a-fA-F_]+|o[0-7_]+|b[01_]+)")
_UNDERSCORES = re.compile(r"[-+]?[0-9][0-9_]*_[0-9_]*(\.[0-9_]*)?")
_BASE_60 = re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_DATE = re.compile(r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})")


@dataclass
class Document:
    """One file as plain data. `lines` and `texts` hold the line and the written text of each place in it.

    `refused` are places that already have a problem, so that nothing else is said about them.
    """

    file: str
    data: Any = None
    lines: dict[Place, int] = field(default_factory=dict)
    texts: dict[Place, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    refused: set[Place] = field(default_factory=set)

    def report(self, code: str, place: Place, message: str, line: int | None = None) -> None:
        """Adds a problem at `place`, or at the nearest enclosing place that has a line."""
        self.problems.append(Problem(code, self.file, self.line_of(place) if line is None else line, message))
        self.refused.add(place)

    def value_at(self, place: Place) -> Any:
        """The value at a place, None where there is none."""
        node = self.data
        for step in place:
            if isinstance(node, dict):
                node = node.get(str(step))
            elif isinstance(node, list) and isinstance(step, int) and step < len(node):
                node = node[step]
            else:
                return None
        return node

    def text_at(self, *place: str | int) -> str | None:
        """The text at a place, or None where there is none or where it was refused."""
        value = self.value_at(place)
        return value if isinstance(value, str) and place not in self.refused else None

    def line_of(self, place: Place) -> int:
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 0)


def read_document(path: Path, file: str) -> Document:
    """The document in `path`, named `file` in messages; its `data` is None when it cannot be read at all."""
    document = Document(file)
    try:
        content = path.read_bytes()
    except OSError as error:
        document.report("E-CONFIG-FILE", (), f"the file cannot be read ({error.strerror})")
        return document
    if len(content) > MAX_BYTES:
        message = f"the file must not be larger than {MAX_BYTES:,} bytes, got {len(content):,}"
        document.report("E-CONFIG-SIZE", (), message)
        return document
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        document.report(
            "E-CONFIG-SYNTAX", (), f"the text must be UTF-8, got the byte {content[error.start]:#04x}", line
        )
        return document
    return read_text(text, document)


def read_text(text: str, document: Document) -> Document:
    """Fills `document` from YAML text."""
    try:
        events = _events(text)
    except yaml.YAMLError as error:
        line, message = syntax_problem(error, text)
        document.report("E-CONFIG-SYNTAX", (), message, line)
        return document
    except RecursionError:
        document.report("E-CONFIG-SIZE", (), f"blocks must not be nested deeper than {MAX_DEPTH} levels")
        return document
    return _Reader(document, events).read()


def _events(text: str) -> list[Any]:
    """The parser's events; RecursionError for text so deep that reading on would take long (PyYAML is quadratic).

    By libyaml, ten times as fast, which matters where the DAG processor reads many files every half minute. What it
    does not like is read again by PyYAML itself, whose words about a mistake `syntax_problem` knows.
    """
    try:
        return _shallow(yaml.parse(text, Loader=_FAST))
    except yaml.YAMLError:
        return _shallow(yaml.parse(text, Loader=yaml.SafeLoader))


def _shallow(parsed: Iterable[Any]) -> list[Any]:
    events: list[Any] = []
    depth = 0
    for event in parsed:
        events.append(event)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > 10 * MAX_DEPTH:
            raise RecursionError
    return events


class _Reader:
    """Turns parser events into data; PyYAML's own composer would resolve the traps silently."""

    def __init__(self, document: Document, events: list[Any]) -> None:
        self.document = document
        self.events = iter([event for event in events if not isinstance(event, yaml.StreamStartEvent)])

    def read(self) -> Document:
        document = self.document
        event = next(self.events)
        if isinstance(event, yaml.StreamEndEvent):
            document.report("E-CONFIG-EMPTY", (), "the file is empty")
            return document
        document.data = self._value(next(self.events), ())
        next(self.events)
        follows = next(self.events)
        if isinstance(follows, yaml.DocumentStartEvent):
            line = self._line(follows)
            document.report("E-CONFIG-YAML", (), "a second document starts here ('---'); one file holds one", line)
        if not isinstance(document.data, dict):
            got = (
                "a list"
                if isinstance(document.data, list)
                else quote(document.texts[()])
                if document.texts[()]
                else "nothing"
            )
            document.report("E-CONFIG-VALUE", (), f"the file must hold 'key: value' lines, got {got}", 1)
            document.data = None
        return document

    def _value(self, event: Any, place: Place) -> Any:
        document = self.document
        line = self._line(event)
        document.lines.setdefault(place, line)
        if isinstance(event, yaml.AliasEvent):
            document.report("E-CONFIG-YAML", place, f"the alias '*{event.anchor}' must be written out", line)
            return None
        if event.anchor:
            document.report("E-CONFIG-YAML", place, f"the anchor '&{event.anchor}' must be left out", line)
        if event.tag:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            document.report(
                "E-CONFIG-YAML", place, f"the tag {quote(tag)} must be left out; files hold plain data", line
            )
        if len(place) > MAX_DEPTH:
            if not any(problem.code == "E-CONFIG-SIZE" for problem in document.problems):
                message = f"blocks must not be nested deeper than {MAX_DEPTH} levels"
                document.report("E-CONFIG-SIZE", place, message, line)
            self._skip(event)
            return None
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(place)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(place)
        return self._scalar(event, place)

    def _mapping(self, place: Place) -> dict[str, Any]:
        found: dict[str, Any] = {}
        first_lines: dict[str, int] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            line = self._line(event)
            key = self._key(event, place, line)
            following = next(self.events)
            if key is None or key in found:
                if key is not None:
                    message = f"the key {quote(key)} is there twice (first in line {first_lines[key]})"
                    self.document.report("E-CONFIG-DUPLICATE", (*place, key), message, line)
                self._skip(following)
                continue
            first_lines[key] = line
            self.document.lines[(*place, key)] = line
            found[key] = self._value(following, (*place, key))
        return found

    def _key(self, event: Any, place: Place, line: int) -> str | None:
        """The text of a key; None, with the problem noted, when it is no plain text."""
        report = self.document.report
        if not isinstance(event, yaml.ScalarEvent):
            what = f"'*{event.anchor}'" if isinstance(event, yaml.AliasEvent) else "a list or a block"
            report("E-CONFIG-YAML", (*place, "?"), f"a key must be text, got {what}", line)
            self._skip(event)
            return None
        text = str(event.value)
        if event.anchor or event.tag:
            report(
                "E-CONFIG-YAML", (*place, text), f"the anchor or tag at the key {quote(text)} must be left out", line
            )
        if not event.style and text == "<<":
            report(
                "E-CONFIG-YAML", (*place, text), "the merge key '<<' must be replaced by the keys it stands for", line
            )
            return None
        if not event.style and not isinstance(plain := plain_value(text), str):
            report("E-CONFIG-YAML", (*place, text), f"a key must be text, got {quote(text)}. Quote it", line)
            return text if plain is not None else None
        if not event.style and _trap(text):
            message = f'the key {quote(text)} means something else to some YAML readers. Write "{text}"'
            report("E-CONFIG-YAML", (*place, text), message, line)
        return text

    def _sequence(self, place: Place) -> list[Any]:
        found: list[Any] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            found.append(self._value(event, (*place, len(found))))
        self._repeated(found, place)
        return found

    def _repeated(self, items: list[Any], place: Place) -> None:
        seen: set[str] = set()
        for position, item in enumerate(items):
            if (*place, position) in self.document.refused:
                continue
            if isinstance(item, str) and item in seen:
                self.document.report("E-CONFIG-DUPLICATE", (*place, position), f"{quote(item)} is listed twice")
            if isinstance(item, str):
                seen.add(item)

    def _scalar(self, event: Any, place: Place) -> Any:
        text = str(event.value)
        self.document.texts[place] = text
        if event.style:
            return text
        if trap := _trap(text):
            self.document.report("E-CONFIG-YAML", place, trap, self._line(event))
            return text
        if wrong := _impossible_date(text):
            self.document.report("E-CONFIG-DATE", place, wrong, self._line(event))
            return text
        return plain_value(text)

    @staticmethod
    def _line(event: Any) -> int:
        return int(event.start_mark.line) + 1

    def _skip(self, event: Any) -> None:
        """Reads past the node that `event` starts."""
        depth = int(isinstance(event, yaml.CollectionStartEvent))
        while depth:
            following = next(self.events)
            depth += isinstance(following, yaml.CollectionStartEvent)
            depth -= isinstance(following, yaml.CollectionEndEvent)


def _is_word(text: str) -> bool:
    """Whether it is plain text to every reader, as most keys and values are: no number, and longer than 'false'."""
    return len(text) > 5 and text[0].isalpha()


def plain_value(text: str) -> Any:
    """The value of an unquoted scalar by YAML 1.2's core rules; dates stay text."""
    if _is_word(text):
        return text
    if _NULL.fullmatch(text):
        return None
    if _BOOLEAN.fullmatch(text):
        return text.lower() == "true"
    if _INTEGER.fullmatch(text):
        return int(text) if len(text) <= 40 else float(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def _trap(text: str) -> str | None:
    """Why an unquoted scalar is read differently by different YAML readers, or None."""
    if _is_word(text):
        return None
    shown = quote(text)
    if _BOOLEAN_TRAP.fullmatch(text):
        word = "true" if text.lower() in ("yes", "on", "y") else "false"
        return f'{shown} without quotes means {word} to some YAML readers. Write {word}, or "{text}" for the text'
    if _LEADING_ZERO.fullmatch(text):
        number = text.replace("_", "").lstrip("+-0") or "0"
        return f'{shown} starts with 0, an octal number to some YAML readers. Write {number}, or "{text}" for the text'
    if _OTHER_BASE.fullmatch(text):
        return f'{shown} is a number to some YAML readers. Write it in decimal, or "{text}" for the text'
    if _BASE_60.fullmatch(text):
        return f'{shown} without quotes is a number in base 60 to some YAML readers. Write "{text}"'
    if _UNDERSCORES.fullmatch(text):
        return f'{shown} is a number to some YAML readers only. Write {text.replace("_", "")}, or "{text}" for the text'
    if _NOT_FINITE.fullmatch(text):
        return f'{shown} is no usable number. Write a finite one, or "{text}" for the text'
    return None


def _impossible_date(text: str) -> str | None:
    found = _DATE.fullmatch(text)
    if not found:
        return None
    year, month, day = (int(part) for part in found.groups())
    try:
        written = date(year, month, day).isoformat()
    except ValueError:
        return f"{quote(text)} is not a date that exists. Write a real one like '2026-03-02'"
    return None if written == text else f"{quote(text)} must be written with two digits each: '{written}'"
