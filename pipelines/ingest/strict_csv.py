"""One CSV record, read by RFC 4180 to the letter: the text's fields, or the reason why it is refused."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence

from pipelines.settings.source import FileSource

_REASONS = {
    "unexpected end of data": "UNCLOSED_QUOTE: a quote opens that is never closed",
    "expected after": "STRAY_QUOTE: text follows a closing quote",
    "new-line character": "STRAY_RETURN: a carriage return stands outside quotes",
}
STRAY_QUOTE = "STRAY_QUOTE: a quote stands inside an unquoted field"
STRAY_RETURN = _REASONS["new-line character"]
UNCLOSED_QUOTE = _REASONS["unexpected end of data"]


class StrictCsv:
    """Python's reader in strict mode, plus the stray quotes and carriage returns that it lets pass."""

    def __init__(self, source: FileSource) -> None:
        # The limit is global to the process and only ever raised; cells are measured against their own limit later.
        csv.field_size_limit(max(csv.field_size_limit(), 1 << 30))
        self._delimiter, self._quote = source.delimiter, source.quote
        mark, gap = re.escape(source.quote or "\0"), re.escape(source.delimiter)
        field = f"(?:{mark}[^{mark}]*(?:{mark}{mark}[^{mark}]*)*{mark}|[^{mark}{gap}\r\n]*)"
        self._record = re.compile(f"{field}(?:{gap}{field})*")

    def fields(self, text: str) -> list[str] | str:
        """The fields of one record, or, as text, the reason why it is none."""
        try:
            records: list[list[str]] = list(self._reader([text]))
        except csv.Error as error:
            return next((reason for hint, reason in _REASONS.items() if hint in str(error)), f"CSV: {error}")
        if len(records) != 1:
            return STRAY_RETURN
        if self._is_doubtful(text, records[0]) and not self._record.fullmatch(text):
            return STRAY_QUOTE if self._has_quote(records[0]) else STRAY_RETURN
        return records[0]

    def many(self, texts: Sequence[str]) -> list[list[str] | str]:
        """`fields` of each text; all at once when nothing is wrong with any."""
        try:
            records: list[list[str]] = list(self._reader(texts))
        except csv.Error:
            return [self.fields(text) for text in texts]
        if len(records) != len(texts):
            return [self.fields(text) for text in texts]
        return [
            self.fields(text) if self._is_doubtful(text, record) else record
            for text, record in zip(texts, records, strict=True)
        ]

    def _reader(self, texts: Sequence[str]) -> csv.reader:  # type: ignore[valid-type]  # a function in the stubs
        if self._quote is None:
            return csv.reader(texts, delimiter=self._delimiter, quoting=csv.QUOTE_NONE, strict=True)
        return csv.reader(texts, delimiter=self._delimiter, quotechar=self._quote, strict=True)

    def _is_doubtful(self, text: str, record: list[str]) -> bool:
        """The reader keeps stray quotes in the value and drops a carriage return at the end."""
        return "\r" in text or self._has_quote(record)

    def _has_quote(self, record: list[str]) -> bool:
        return self._quote is not None and any(self._quote in value for value in record)
