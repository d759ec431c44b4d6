"""Physical lines of a block of UTF-8 text, as arrays of positions and of what is notable about each line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipelines.errors import DataError, quote

LONGEST_LINE = 64 << 20
_NEWLINE, _RETURN = 10, 13
_MARK = b"\xef\xbb\xbf"


def whole_lines(blocks: Iterator[bytes], size: int, where: str, source: str) -> Iterator[tuple[bytes, bool]]:
    """Pieces of about `size` bytes that end with a line's end, and whether the piece is the last one.

    Raises:
        DataError: E-IN-LIMIT when a line is longer than 64 MiB.
    """
    pending: list[bytes] = []
    held = 0
    for block in blocks:
        pending.append(block)
        held += len(block)
        if held < size or b"\n" not in block:
            if held > LONGEST_LINE + size:
                raise DataError("E-IN-LIMIT", where, f"{quote(source)} has a line longer than {LONGEST_LINE:,} bytes")
            continue
        data = b"".join(pending)
        cut = data.rfind(b"\n") + 1
        yield data[:cut], False
        pending, held = [data[cut:]], len(data) - cut
    yield b"".join(pending), True


@dataclass(frozen=True)
class Lines:
    """`starts` and `stops` exclude the line's end; all arrays have one entry per physical line.

    `is_tidy`: each quoted field of the line is a whole field without a quote in it. `delimiters` of such lines are
    those outside quotes.
    """

    data: bytes
    starts: np.ndarray
    stops: np.ndarray
    delimiters: np.ndarray
    quotes: np.ndarray
    is_tidy: np.ndarray
    has_lone_return: np.ndarray
    is_undecodable: np.ndarray

    @property
    def count(self) -> int:
        return len(self.starts)

    @property
    def is_blank(self) -> np.ndarray:
        return self.starts == self.stops

    def bytes(self, first: int, last: int | None = None) -> bytes:
        """The text of one line, or of several with the line ends between them."""
        return self.data[self.starts[first] : self.stops[first if last is None else last]]

    def starts_with_mark(self) -> np.ndarray:
        """Lines that begin with U+FEFF, which Arrow's reader would take for a byte order mark."""
        first = np.frombuffer(self.data, np.uint8)[np.minimum(self.starts, max(0, len(self.data) - 1))]
        marked = np.zeros(self.count, bool)
        for line in np.flatnonzero(first == _MARK[0]):
            marked[line] = self.data.startswith(_MARK, self.starts[line])
        return marked


def split_lines(data: bytes, delimiter: bytes, quote_mark: bytes | None) -> Lines:
    """Lines end at a newline, with or without a carriage return before it; the last may lack its end."""
    marks = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(marks == _NEWLINE)
    if len(data) and marks[-1] != _NEWLINE:
        ends = np.append(ends, len(data))
    starts = np.concatenate([[0], ends[:-1] + 1]).astype(np.int64) if len(ends) else ends
    returns = np.zeros(len(ends), np.int64)
    stops = ends
    if b"\r" in data:
        ends_in_return = (ends > starts) & (marks[ends - 1] == _RETURN)
        stops = ends - ends_in_return
        returns = _count(marks, _RETURN, ends) - ends_in_return
    delimiters = _count(marks, delimiter[0], ends)
    quotes, is_tidy = np.zeros(len(ends), np.int64), np.ones(len(ends), bool)
    if quote_mark and quote_mark in data:
        quotes = _count(marks, quote_mark[0], ends)
        places = np.flatnonzero(marks == quote_mark[0])
        is_tidy, quoted = _pairs(marks, delimiter[0], places, quotes, starts, stops)
        delimiters = delimiters - quoted
    return Lines(
        data=data,
        starts=starts,
        stops=stops,
        delimiters=delimiters,
        quotes=quotes,
        is_tidy=is_tidy,
        has_lone_return=returns > 0,
        is_undecodable=_undecodable(data, starts, stops),
    )


def _count(marks: np.ndarray, mark: int, ends: np.ndarray) -> np.ndarray:
    """How often `mark` stands in each line."""
    until = np.searchsorted(np.flatnonzero(marks == mark), ends)
    return np.diff(until, prepend=0)


def _pairs(
    marks: np.ndarray, delimiter: int, places: np.ndarray, counts: np.ndarray, starts: np.ndarray, stops: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Per line: whether its quotes open and close whole fields in turn, and how many delimiters lie inside quotes."""
    line = np.repeat(np.arange(len(counts)), counts)
    closes = ((np.arange(len(places)) - np.repeat(np.cumsum(counts) - counts, counts)) & 1).astype(bool)
    opens_field = (places == starts[line]) | (marks[np.maximum(places - 1, 0)] == delimiter)
    ends_field = (places + 1 == stops[line]) | (marks[np.minimum(places + 1, len(marks) - 1)] == delimiter)
    is_tidy = counts % 2 == 0
    is_tidy[line[~np.where(closes, ends_field, opens_field)]] = False
    before = np.searchsorted(np.flatnonzero(marks == delimiter), places)
    inside = np.bincount(line, np.where(closes, before, -before), len(counts)).astype(np.int64)
    return is_tidy, np.where(is_tidy, inside, 0)


def _undecodable(data: bytes, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    bad = np.zeros(len(starts), bool)
    try:
        data.decode("utf-8")
        return bad
    except UnicodeDecodeError:
        pass
    for line, (start, stop) in enumerate(zip(starts.tolist(), stops.tolist(), strict=True)):
        try:
            data[start:stop].decode("utf-8")
        except UnicodeDecodeError:
            bad[line] = True
    return bad


def encoding_reason(line: bytes, encoding: str) -> str:
    """Names the first byte that the declared encoding does not know, counted from the line's start."""
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as error:
        before = line[: error.start].decode("utf-8")
        offset = error.start if encoding == "utf-8" else len(before.encode(encoding, "replace"))
        byte = f" 0x{line[error.start]:02x}" if encoding == "utf-8" else ""
        return f"ENCODING: byte{byte} at offset {offset} of the line is not {encoding}"
    raise ValueError("the line decodes")


def shown(text: bytes, longest: int) -> str:
    """The record as it came, for the quarantine: undecodable bytes escaped, cut after `longest` characters."""
    return text[: 4 * longest].decode("utf-8", "backslashreplace")[:longest]
