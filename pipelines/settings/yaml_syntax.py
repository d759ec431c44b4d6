"""Says in plain words why a text is not YAML: PyYAML's own words assume that one knows its scanner."""

from __future__ import annotations

import re

import yaml

from pipelines.errors import quote

# What PyYAML says (a part of it) -> what it means to the person who wrote the file.
_PLAIN_WORDS = {
    "mapping values are not allowed": "a ':' stands where none can; check the indentation, and quote a value with ': '",
    "could not find expected ':'": "a key must be followed by ': '",
    "expected <block end>": "the indentation must be that of the lines around it",
    "found unexpected end of stream": "a quote must be closed",
    "expected ',' or ']'": "a '[' must be closed by ']', with ',' between the items",
    "expected ',' or '}'": "a '{' must be closed by '}', with ',' between the entries",
    "found unknown escape character": "a backslash inside double quotes must be doubled, or use single quotes",
    "found duplicate anchor": "anchors must be left out",
}
_MUST_BE_QUOTED = re.compile(r"^\s*(?:-\s+)?(?:[^\s:#]+:\s+|-\s+)([*&!%@`{\[|>][^\n]*)$")


def syntax_problem(error: yaml.YAMLError, text: str) -> tuple[int, str]:
    """`(line, message)`; the line counts from 1."""
    if isinstance(error, yaml.reader.ReaderError):
        return text[: error.position].count("\n") + 1, f"the character U+{int(error.character):04X} must be left out"
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    line = min(mark.line + 1, max(1, len(text.splitlines()))) if mark else 0
    problem = str(getattr(error, "problem", "") or error)
    written = text.splitlines()[line - 1] if line else ""
    if "\\t" in problem or written[: len(written) - len(written.lstrip())].count("\t"):
        return line, "a tab stands where YAML wants spaces; indent with spaces"
    for at in (line, line - 1):
        start = _MUST_BE_QUOTED.match(text.splitlines()[at - 1]) if at >= 1 else None
        if start and "'[' must" not in _plain(problem):
            return at, f"the value {quote(start[1])} must be quoted because it starts with '{start[1][0]}'"
    return line, _plain(problem)


def _plain(problem: str) -> str:
    for part, words in _PLAIN_WORDS.items():
        if part in problem:
            return words
    return f"this is not YAML: {problem}"
