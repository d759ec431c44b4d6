"""How the text files of a sample are written: encoding, delimiter, quote and header, for the strict reader."""

from __future__ import annotations

import codecs
import gzip
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pipelines.errors import DataError, names
from pipelines.ingest.strict_csv import StrictCsv
from pipelines.init.samples import head_of, is_gzip
from pipelines.settings.source import FileSource

Encoding = Literal["utf-8", "latin-1", "cp1252", "utf-16"]
_BLOCK = 1 << 20
_DELIMITERS = (",", ";", "\t", "|")
_NUMBER = re.compile(r"[+-]?([0-9]+([.,][0-9]*)*|[.,][0-9]+)([eE][+-]?[0-9]+)?%?")
_LONGEST_NAME = 64
_MOST_LINES = 500


@dataclass(frozen=True)
class Dialect:
    """`columns`: the header's names, or `column_1` ... where there is none. `fitting`: share of the first lines that
    have as many fields as the first."""

    encoding: Encoding
    delimiter: str
    quote: str | None
    header: bool
    columns: tuple[str, ...]
    fitting: float = 1.0


def dialect_of(file: Path, header: bool | None = None, like: Dialect | None = None) -> Dialect:
    """The dialect of one CSV file; `header` overrules what the first line looks like.

    `like`: of another file of the feed; where this one has the same columns, only its encoding is looked at.

    Raises:
        DataError: E-INIT-EMPTY for a file with only a header, E-INIT-HEADER for one with a name twice.
    """
    encoding = encoding_of(file)
    lines = _lines(head_of(file), encoding)
    if like and like.header and _records(lines[:1], like) == [list(like.columns)] and len(lines) > 1:
        return replace(like, encoding=encoding)
    best = max((_judged(lines, encoding, *marks) for marks in _marks(lines)), key=lambda one: (one[0], one[1]))[2]
    records = _records(lines, best)
    first, others = records[0], records[1:]
    has_header = _is_header(first, others) if header is None else header
    if has_header and not others:
        raise DataError("E-INIT-EMPTY", file.name, "the file has only a header and no rows", "Give a file with rows.")
    columns = tuple(first) if has_header else tuple(f"column_{number}" for number in range(1, len(first) + 1))
    twice = sorted({name for name in columns if columns.count(name) > 1 and name})
    if twice:
        what = f"the header has {names(twice)} more than once"
        raise DataError("E-INIT-HEADER", file.name, what, "Rename one; without a header give --no-header.")
    return replace(best, header=has_header, columns=columns)


def encoding_of(file: Path) -> Encoding:
    """UTF-16 by its mark, UTF-8 if every byte of the file is, else cp1252, and latin-1 where that has holes."""
    if head_of(file).startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    decoders: dict[Encoding, codecs.IncrementalDecoder] = {
        "utf-8": codecs.getincrementaldecoder("utf-8")(),
        "cp1252": codecs.getincrementaldecoder("cp1252")(),
    }
    with gzip.open(file) if is_gzip(file) else file.open("rb") as handle:
        while block := handle.read(_BLOCK):
            for name in list(decoders):
                try:
                    decoders[name].decode(block)
                except UnicodeDecodeError:
                    del decoders[name]
            if not decoders:
                return "latin-1"
    return next(iter(decoders))


def _lines(data: bytes, encoding: Encoding) -> list[str]:
    """Whole lines of the head; its last one may be cut off, unless it is all there is."""
    text = data.decode(encoding, "replace").removeprefix("\ufeff")
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    if len(lines) > 2:
        lines.pop()
    return [line for line in lines if line][:_MOST_LINES]


def _marks(lines: Sequence[str]) -> list[tuple[str, str | None]]:
    """Delimiters and quotes to try; quoting is given up only where a quote stands in the text."""
    quotes: list[str | None] = ['"', None] if any('"' in line for line in lines) else ['"']
    return [(delimiter, mark) for delimiter in _DELIMITERS for mark in quotes]


def _judged(lines: Sequence[str], encoding: Encoding, delimiter: str, quote: str | None) -> tuple[float, int, Dialect]:
    """The share of lines with as many fields as the first (0 where that is one), that number, and the dialect."""
    dialect = Dialect(encoding, delimiter, quote, True, ())
    fields = _strict(dialect).many(lines)
    width = len(fields[0]) if isinstance(fields[0], list) else 0
    fitting = sum(isinstance(one, list) and len(one) == width for one in fields) / len(fields)
    return (fitting if width > 1 else 0.0), width, replace(dialect, fitting=fitting)


def _records(lines: Sequence[str], dialect: Dialect) -> list[list[str]]:
    return [fields for fields in _strict(dialect).many(lines) if isinstance(fields, list)]


def _strict(dialect: Dialect) -> StrictCsv:
    source = FileSource.model_validate(
        {"format": "csv", "path": "-", "columns": {"x": {"type": "text"}}, "delimiter": dialect.delimiter}
        | {"quote": dialect.quote}
    )
    return StrictCsv(source)


def _is_header(first: Sequence[str], others: Sequence[Sequence[str]]) -> bool:
    """Names are short, differ, are no numbers, and do not come again as values of their own column."""
    filled = [name for name in first if name]
    if not filled or len(set(filled)) < len(filled):
        return len(filled) > 1 and all(not _NUMBER.fullmatch(name) for name in filled) and not _repeats(first, others)
    if any(_NUMBER.fullmatch(name) or len(name) > _LONGEST_NAME for name in filled):
        return False
    return not _repeats(first, others)


def _repeats(first: Sequence[str], others: Sequence[Sequence[str]]) -> bool:
    return any(name and name == row[place] for row in others for place, name in enumerate(first) if place < len(row))
