"""CSV files: tidy lines in bulk through Arrow, the others record by record; each line in exactly one record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from pyarrow import csv as arrow_csv

from pipelines.errors import ConfigError, DataError, quote
from pipelines.ingest.content import empty
from pipelines.ingest.header import match_columns
from pipelines.ingest.lines import Lines, encoding_reason, shown, split_lines, whole_lines
from pipelines.ingest.records import IMAGE_PIECE, Chunk, Reject, Tally
from pipelines.ingest.strict_csv import STRAY_RETURN, UNCLOSED_QUOTE, StrictCsv
from pipelines.ingest.text_types import cast_text
from pipelines.settings.source import FileSource

PIECE = 8 << 20


@dataclass
class _Records:
    """The records of one piece, by their first and last physical line (of the piece)."""

    consumed: int
    inside: np.ndarray  # lines that continue a record
    spans: dict[int, tuple[int, list[str]]] = field(default_factory=dict)  # first line -> last line, fields
    refused: dict[int, str] = field(default_factory=dict)  # line -> reason


class CsvRecords:
    """Chunks of the records of one file.

    A line with an odd number of quotes opens a record that ends at the next such line. Where that is no record after
    all, only the first line is refused and reading goes on with the second: one broken quote costs one line, not the
    rest of the file. A record in several lines may be at most four times `max_cell_chars` bytes long.
    """

    def __init__(self, source: FileSource, name: str, where: str) -> None:
        if not source.delimiter.isascii() or not (source.quote or "").isascii():
            raise ConfigError("E-CONFIG-CSV", where, "'delimiter' and 'quote' must be ASCII characters")
        self.tally = Tally()
        self._source, self._name, self._where = source, name, where
        self._strict = StrictCsv(source)
        self._delimiter = source.delimiter.encode()
        self._quote = source.quote.encode() if source.quote else None
        self._longest_record = 4 * source.limits.max_cell_chars
        self._positions: dict[str, int] = {}
        self._width = 0
        self._line = 1  # physical line at which the next piece starts

    def chunks(self, blocks: Iterator[bytes]) -> Iterator[Chunk]:
        """Raises DataError when the header is refused or there is no record at all."""
        rest = b""
        size = IMAGE_PIECE if self._source.has_images else PIECE
        for piece, is_last in whole_lines(blocks, size, self._where, self._name):
            data = rest + piece
            if not self._width:
                data = self._without_header(data)
            if not self._width:
                rest = data
                continue
            chunk, used = self._chunk(data, is_last)
            rest = data[used:]
            if chunk is not None:
                yield chunk
        if not self._width:
            raise empty(self._where, self._name, "it has only blank lines")
        if not self.tally.records:
            raise empty(self._where, self._name, "it has only a header")

    def _without_header(self, data: bytes) -> bytes:
        if not self._source.header:
            self._width = len(self._source.columns)
            self._positions = {name: position for position, name in enumerate(self._source.columns)}
            return data
        while data:
            line, _, data = data.partition(b"\n")
            self._line += 1
            line = line.removesuffix(b"\r")
            if line:
                self.tally.header_lines = 1
                self._read_header(line)
                return data
            self.tally.blank_lines += 1
        return data

    def _read_header(self, line: bytes) -> None:
        try:
            found = self._strict.fields(line.decode("utf-8"))
        except UnicodeDecodeError:
            found = encoding_reason(line, self._source.encoding)
        if isinstance(found, str):
            raise DataError("E-IN-FORMAT", self._where, f"the header of {quote(self._name)} cannot be read: {found}")
        self._positions = match_columns(found, self._source, f"{self._where} {self._name}")
        self._width = len(found)

    def _chunk(self, data: bytes, is_last: bool) -> tuple[Chunk | None, int]:
        """The records of a piece and how many of its bytes they took; what is left belongs to the next piece."""
        lines = split_lines(data, self._delimiter, self._quote)
        found = self._find_records(lines, is_last)
        used = len(data) if found.consumed == lines.count else int(lines.starts[found.consumed])
        begins = ~found.inside[: found.consumed] & ~lines.is_blank[: found.consumed]
        first_lines = np.flatnonzero(begins)
        chunk = self._read(lines, found, first_lines) if len(first_lines) else None
        blank = int(np.count_nonzero(lines.is_blank[: found.consumed] & ~found.inside[: found.consumed]))
        self.tally.blank_lines += blank
        self.tally.lines += found.consumed - blank
        self.tally.records += len(first_lines)
        self._line += found.consumed
        return chunk, used

    def _find_records(self, lines: Lines, is_last: bool) -> _Records:
        """Walks the lines with an odd number of quotes; all other lines are records of their own."""
        found = _Records(consumed=lines.count, inside=np.zeros(lines.count, bool))
        odd = np.flatnonzero(lines.quotes & 1).tolist()
        at = 0
        while at < len(odd):
            first = odd[at]
            if not self._opens(lines, first):
                at += 1
                continue
            last = odd[at + 1] if at + 1 < len(odd) else None
            end = len(lines.data) if last is None else int(lines.stops[last])
            is_too_long = end - int(lines.starts[first]) > self._longest_record
            if last is None and not is_last and not is_too_long:
                found.consumed = first
                break
            fields = None if last is None or is_too_long else self._joined(lines, first, last)
            if fields is None or last is None:
                found.refused[first] = UNCLOSED_QUOTE
                at += 1
                continue
            found.spans[first] = (last, fields)
            found.inside[first + 1 : last + 1] = True
            at += 2
        return found

    def _opens(self, lines: Lines, line: int) -> bool:
        """Whether the line by itself is a record that only lacks its closing quote."""
        if lines.is_undecodable[line]:
            return False
        return self._strict.fields(lines.bytes(line).decode("utf-8")) == UNCLOSED_QUOTE

    def _joined(self, lines: Lines, first: int, last: int) -> list[str] | None:
        if lines.is_undecodable[first : last + 1].any():
            return None
        fields = self._strict.fields(lines.bytes(first, last).decode("utf-8"))
        return fields if isinstance(fields, list) and len(fields) == self._width else None

    def _read(self, lines: Lines, found: _Records, first_lines: np.ndarray) -> Chunk:
        ordinals = np.full(lines.count, -1, np.int64)
        ordinals[first_lines] = self.tally.records + np.arange(len(first_lines))
        plain = self._plain(lines, first_lines)
        table = self._bulk(lines, plain)
        slow = {first: fields for first, (_, fields) in found.spans.items()}
        reasons = dict(found.refused)
        others = np.setdiff1d(first_lines, plain, assume_unique=True).tolist()
        self._one_by_one(lines, [line for line in others if line not in slow and line not in reasons], slow, reasons)
        return Chunk(
            cells=self._merged(table, plain, slow),
            ordinals=ordinals[np.sort(np.append(plain, sorted(slow)).astype(np.int64))],
            lines=np.sort(np.append(plain, sorted(slow)).astype(np.int64)) + self._line,
            record=self._record_text(lines, np.sort(np.append(plain, sorted(slow)).astype(np.int64)), found),
            cast=cast_text,
            rejects=[
                Reject(int(ordinals[line]), line + self._line, self._text(lines, line), [reasons[line]])
                for line in sorted(reasons)
            ],
        )

    def _plain(self, lines: Lines, first_lines: np.ndarray) -> np.ndarray:
        """Lines that any reader splits alike: whole fields in quotes or none, the right number of them, clean text."""
        good = lines.is_tidy & (lines.delimiters == self._width - 1)
        good &= ~lines.has_lone_return & ~lines.is_undecodable & ~lines.starts_with_mark()
        return first_lines[good[first_lines]]

    def _bulk(self, lines: Lines, plain: np.ndarray) -> pa.Table | None:
        if not len(plain):
            return None
        data = lines.data
        if len(plain) < lines.count:
            pieces = zip(lines.starts[plain].tolist(), lines.stops[plain].tolist(), strict=True)
            data = b"\n".join([lines.data[start:stop] for start, stop in pieces])
        names = [str(position) for position in range(self._width)]
        wanted = [names[position] for position in self._positions.values()]
        table = arrow_csv.read_csv(
            pa.py_buffer(data),
            arrow_csv.ReadOptions(use_threads=False, block_size=len(data) + 1, column_names=names),
            arrow_csv.ParseOptions(
                delimiter=self._source.delimiter,
                quote_char=self._source.quote or False,
                double_quote=False,
                ignore_empty_lines=False,
            ),
            arrow_csv.ConvertOptions(
                check_utf8=False,
                column_types={name: pa.string() for name in wanted},
                strings_can_be_null=False,
                include_columns=wanted,
            ),
        )
        if table.num_rows != len(plain):
            raise DataError(
                "E-IN-RECORDS", self._where, f"{len(plain)} lines were given to the reader, {table.num_rows} came back"
            )
        return table

    def _one_by_one(self, lines: Lines, others: list[int], slow: dict[int, list[str]], reasons: dict[int, str]) -> None:
        """Adds the fields, or the reason, of each single line to `slow` or `reasons`."""
        readable = []
        for line in others:
            if lines.is_undecodable[line]:
                reasons[line] = encoding_reason(lines.bytes(line), self._source.encoding)
            elif lines.quotes[line] == 0 and lines.has_lone_return[line]:
                reasons[line] = STRAY_RETURN
            elif lines.quotes[line] == 0 and lines.delimiters[line] != self._width - 1:
                reasons[line] = self._field_count(int(lines.delimiters[line]) + 1)
            else:
                readable.append(line)
        texts = [lines.bytes(line).decode("utf-8") for line in readable]
        for line, fields in zip(readable, self._strict.many(texts), strict=True):
            if isinstance(fields, str):
                reasons[line] = fields
            elif len(fields) != self._width:
                reasons[line] = self._field_count(len(fields))
            else:
                slow[line] = fields

    def _field_count(self, count: int) -> str:
        return f"FIELD_COUNT: the record has {count} fields, the header {self._width}"

    def _merged(self, table: pa.Table | None, plain: np.ndarray, slow: dict[int, list[str]]) -> dict[str, pa.Array]:
        """The declared columns as text, plain and slow records in the order of their lines."""
        order = np.argsort(np.append(plain, sorted(slow)), kind="stable")
        by_hand = [slow[line] for line in sorted(slow)]
        cells = {}
        for name, position in self._positions.items():
            parts = list(table[str(position)].chunks) if table is not None else []
            if slow:
                parts.append(pa.array([fields[position] for fields in by_hand], pa.string()))
            column = pa.concat_arrays(parts) if parts else pa.array([], pa.string())
            cells[name] = column.take(pa.array(order)) if slow and table is not None else column
        return cells

    def _text(self, lines: Lines, first: int, last: int | None = None) -> str:
        return shown(lines.bytes(first, last), self._source.limits.max_cell_chars)

    def _record_text(self, lines: Lines, rows: np.ndarray, found: _Records) -> Callable[[int], str]:
        def text(row: int) -> str:
            first = int(rows[row])
            return self._text(lines, first, found.spans[first][0] if first in found.spans else None)

        return text
