"""JSON Lines: one object per line, read without losing digits, duplicate keys or nonsense numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

import numpy as np

from pipelines.errors import DataError, quote
from pipelines.ingest.content import empty
from pipelines.ingest.header import extra_columns, refuse_missing, spelled
from pipelines.ingest.lines import encoding_reason, shown, whole_lines
from pipelines.ingest.records import IMAGE_PIECE, Chunk, Reject, Tally
from pipelines.ingest.value_types import cast_json
from pipelines.settings.source import FileSource

PIECE = 4 << 20


class _Refused(ValueError):
    """A line that is no object; the message is the reason."""


class JsonRecords:
    """Chunks of the objects of one file. An absent key is null; a key that no object has is a missing column."""

    def __init__(self, source: FileSource, name: str, where: str) -> None:
        self.tally = Tally()
        self._source, self._name, self._where = source, name, where
        self._spelled = spelled(source)
        self._seen: dict[str, None] = {}
        self._decoder = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)

    def chunks(self, blocks: Iterator[bytes]) -> Iterator[Chunk]:
        """Raises DataError when a declared column is nowhere, extra ones are refused, or there is no record."""
        size = IMAGE_PIECE if self._source.has_images else PIECE
        for piece, _ in whole_lines(blocks, size, self._where, self._name):
            lines = piece.split(b"\n")
            if not lines[-1]:
                lines.pop()
            if lines:
                yield self._chunk(lines)
        if not self.tally.records:
            raise empty(self._where, self._name, "it has only blank lines")
        if self._seen:
            refuse_missing(list(self._spelled.values()), list(self._seen), f"{self._where} {self._name}")

    def _chunk(self, lines: list[bytes]) -> Chunk:
        begin, first_line = self.tally.records, self.tally.physical_lines + 1
        numbers = [number for number, line in enumerate(lines) if line.strip()]
        self.tally.records += len(numbers)
        self.tally.lines += len(numbers)
        self.tally.blank_lines += len(lines) - len(numbers)
        objects, rejects, rows = [], [], []
        for ordinal, number in enumerate(numbers, start=begin):
            try:
                objects.append(self._read(lines[number]))
                rows.append((ordinal, number))
            except _Refused as refused:
                rejects.append(Reject(ordinal, number + first_line, self._shown(lines[number]), [str(refused)]))
        self._check_keys(objects)
        return Chunk(
            cells={name: [item.get(key) for item in objects] for name, key in self._spelled.items()},
            ordinals=np.array([ordinal for ordinal, _ in rows], np.int64),
            lines=np.array([number for _, number in rows], np.int64) + first_line,
            record=lambda row: self._shown(lines[rows[row][1]]),
            cast=cast_json,
            rejects=rejects,
        )

    def _read(self, line: bytes) -> dict[str, Any]:
        try:
            text = line.decode("utf-8").strip(" \t\r")
        except UnicodeDecodeError:
            raise _Refused(encoding_reason(line, self._source.encoding)) from None
        try:
            value = self._decoder.decode(text)
        except _Refused:
            raise
        except (ValueError, RecursionError) as error:
            raise _Refused(f"JSON: the line is not a JSON value ({str(error)[:100]})") from None
        if not isinstance(value, dict):
            raise _Refused(f"JSON: the line must be an object, got {type(value).__name__}")
        return value

    def _check_keys(self, objects: Sequence[dict[str, Any]]) -> None:
        for item in objects:
            if item.keys() <= self._seen.keys():
                continue
            self._seen.update(dict.fromkeys(item))
            if len(self._seen) > self._source.limits.max_columns:
                raise DataError(
                    "E-IN-LIMIT",
                    self._where,
                    f"{quote(self._name)} may have at most {self._source.limits.max_columns} different keys",
                )
        extra = [key for key in self._seen if key not in set(self._spelled.values())]
        if extra and self._source.extra_columns == "refuse":
            raise extra_columns(extra, f"{self._where} {self._name}")

    def _shown(self, line: bytes) -> str:
        return shown(line.removesuffix(b"\r"), self._source.limits.max_cell_chars)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    item = dict(pairs)
    if len(item) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _Refused(f"JSON: the key {quote(twice)} stands twice in one object")
    return item


def _constant(name: str) -> NoReturn:
    raise _Refused(f"NUMBER_NOT_FINITE: {name} is not a number that JSON knows")
