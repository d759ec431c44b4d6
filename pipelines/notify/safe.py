"""What of a text may leave the house: errors and reasons can quote rows, and addresses can hold secrets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_LONGEST = 300
_CUT = "…"
_QUOTED = re.compile(r"'([^']*)'")
_PARTITION = re.compile(r"\d{4}-\d{2}(-\d{2}(T\d{2})?)?")
# Addresses with credentials, e-mail addresses, and runs of digits that could be a card, an account or a phone.
_SECRET = re.compile(r"\S*@\S*|\S*://\S*|(?<![\w.])\d(?:[ -]?\d){8,}(?![\w.])")
# As Python names its errors; what stands behind may quote a row.
_KIND = re.compile(r"[A-Za-z_.]*(Error|Exception|Exit|Interrupt)(?=:|$)")


class Safe:
    """Lets quoted words through that stand in the pipeline's own settings, e.g. names of columns and steps.

    At the first other quoted word the text is cut: what is quoted may be a value of a row, and a value may hold
    quotes itself, so that nothing behind it can be told apart.
    """

    def __init__(self, known: Iterable[str]) -> None:
        self._known = frozenset(known)

    def text(self, text: str) -> str:
        """One line of at most 300 characters."""
        line = " ".join(text.split())
        for found in _QUOTED.finditer(line):
            if found[1] not in self._known and not _PARTITION.fullmatch(found[1]):
                line = line[: found.start()] + _CUT
                break
        line = _SECRET.sub(_CUT, line)
        return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + _CUT

    def error(self, error: str) -> str:
        """An error of our own, without code and place; of any other only what kind it is."""
        code, _, rest = error.partition(" ")
        if not code.startswith("E-"):
            kind = _KIND.match(error)
            return f"{kind[0] if kind else 'an error'} (see the task's log)"
        return f"{self.text(rest.partition(': ')[2] or rest)} ({code})"


def known_words(settings: Mapping[str, Any]) -> Iterator[str]:
    """Every key and every text of the pipeline's settings, as plain data."""
    for key, value in settings.items():
        yield str(key)
        yield from _texts(value)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from known_words(value)
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _texts(entry)
