"""The decompressed bytes of a text file: their limits, their identity and an independent count of their lines."""

from __future__ import annotations

import codecs
import gzip
import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from pipelines.errors import DataError, quote
from pipelines.ingest.acquire import Delivery
from pipelines.settings.source import FileSource, Limits

BLOCK = 1 << 20
_RATIO_FROM_BYTES = 100_000_000
_GZIP = b"\x1f\x8b"
_FOREIGN = {
    b"PAR1": "a Parquet file",
    b"PARE": "an encrypted Parquet file",
    b"PK\x03\x04": "a zip archive",
    b"\x28\xb5\x2f\xfd": "a zstd archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
    b"ARROW1": "an Arrow file",
    b"SQLite format 3": "a SQLite database",
    _GZIP: "a gzip archive inside a gzip archive",
}
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True)
class Fingerprint:
    """What is known of a file before it is parsed. `lines` counts physical lines, the last one also without newline."""

    sha256: str
    size: int
    lines: int


def fingerprint(delivery: Delivery, source: FileSource, where: str) -> Fingerprint:
    """Reads the whole file once, keeping nothing.

    Raises:
        DataError: E-IN-EMPTY, E-IN-FORMAT, E-IN-ARCHIVE, E-IN-LIMIT, or E-IN-SIDECAR for another sha256 than stated.
    """
    check_stated_digest(delivery, where)
    digest = ContentDigest()
    lines, last = 0, b"\n"
    for block in utf8_blocks(digest.watch(plain_blocks(delivery, source, where)), source.encoding):
        lines += block.count(b"\n")
        last = block[-1:] or last
    if digest.size == 0:
        raise empty(where, delivery.source, "it has no bytes")
    return Fingerprint(digest.hexdigest(), digest.size, lines + (last != b"\n"))


def empty(where: str, source: str, why: str) -> DataError:
    return DataError(
        "E-IN-EMPTY",
        where,
        f"{quote(source)} must hold records, but {why}",
        "Nothing was published. Deliver the file again.",
        repeat="ingest",
    )


class ContentDigest:
    """sha256 and size of the bytes that passed by."""

    def __init__(self) -> None:
        self.size = 0
        self._hash = hashlib.sha256()

    def watch(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        for block in blocks:
            self._hash.update(block)
            self.size += len(block)
            yield block

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


def plain_blocks(delivery: Delivery, source: FileSource, where: str) -> Iterator[bytes]:
    """Decompressed blocks of up to 1 MiB. Gzip is known by its magic bytes, not by the file's name."""
    handle = delivery.handle
    handle.seek(0)
    is_gzip = handle.read(2) == _GZIP
    handle.seek(0)
    stream = gzip.GzipFile(fileobj=handle) if is_gzip else handle
    size = 0
    while True:
        try:
            block = stream.read(BLOCK)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DataError(
                "E-IN-ARCHIVE",
                where,
                f"{quote(delivery.source)} is a damaged or truncated gzip file ({error})",
                "Nothing was published. Deliver the file again.",
                repeat="ingest",
            ) from error
        if not block:
            return
        if size == 0:
            _check_magic(block, source, delivery.source, where)
        size += len(block)
        check_size(size, delivery.size, source.limits, delivery.source, where)
        yield block


def check_size(size: int, delivered: int, limits: Limits, source: str, where: str) -> None:
    """Raises DataError E-IN-LIMIT when `size` decompressed bytes are more than the source allows."""
    if size > limits.max_bytes:
        raise DataError(
            "E-IN-LIMIT", where, f"{quote(source)} must decompress to at most {limits.max_bytes:,} bytes, got more"
        )
    if size > _RATIO_FROM_BYTES and size > limits.max_ratio * max(1, delivered):
        raise DataError(
            "E-IN-LIMIT",
            where,
            f"{quote(source)} must not grow more than {limits.max_ratio} times when decompressed, "
            f"got {size:,} bytes from {delivered:,}",
            "Raise 'limits.max_ratio' of the source if this is meant.",
        )


def utf8_blocks(blocks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """The text as UTF-8 without byte order mark. Undecodable bytes become invalid UTF-8, so that they stay visible.

    cp1252 leaves five bytes undefined and UTF-16 can be cut or hold lone surrogates; all of them end as surrogates
    in UTF-8, which every strict decoder refuses.
    """
    if encoding == "utf-8":
        yield from _without_mark(blocks)
        return
    errors = "surrogatepass" if encoding == "utf-16" else "surrogateescape"
    decoder = codecs.getincrementaldecoder(encoding)(errors)
    for block in blocks:
        yield decoder.decode(block).encode("utf-8", "surrogatepass")
    try:
        yield decoder.decode(b"", final=True).encode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        yield b"\xff"


def _without_mark(blocks: Iterator[bytes]) -> Iterator[bytes]:
    first = next(blocks, b"")
    yield first.removeprefix(codecs.BOM_UTF8)
    yield from blocks


def _check_magic(block: bytes, source: FileSource, name: str, where: str) -> None:
    what = next((what for magic, what in _FOREIGN.items() if block.startswith(magic)), None)
    if what:
        raise DataError("E-IN-FORMAT", where, f"{quote(name)} must be text, plain or gzip, got {what}")
    if source.encoding != "utf-16" and block.startswith(_UTF16_MARKS):
        raise DataError(
            "E-IN-FORMAT",
            where,
            f"{quote(name)} must be {source.encoding}, but starts like UTF-16",
            "Set 'encoding: utf-16' if this is meant.",
        )


def check_stated_digest(delivery: Delivery, where: str) -> None:
    """`<file>.sha256` is written like sha256sum does: the digest of the file as delivered, then its name."""
    stated = delivery.sidecars.get(".sha256")
    if stated is None:
        return
    delivery.handle.seek(0)
    digest = hashlib.sha256()
    while block := delivery.handle.read(BLOCK):
        digest.update(block)
    actual = digest.hexdigest()
    words = stated.split()
    if not words or words[0].lower() != actual:
        raise DataError(
            "E-IN-SIDECAR",
            where,
            f"the sha256 of {quote(delivery.source)} must be {quote(words[0] if words else '')} as its sidecar says, "
            f"got '{actual}'",
            "Nothing was published. Deliver both files again.",
            repeat="ingest",
        )


def check_stated_rows(delivery: Delivery, records: int, where: str) -> None:
    """Raises DataError E-IN-SIDECAR when `<file>.rows` states another number of records."""
    stated = delivery.sidecars.get(".rows")
    if stated is not None and stated.strip() != str(records):
        raise DataError(
            "E-IN-SIDECAR",
            where,
            f"{quote(delivery.source)} must hold {quote(stated.strip())} records as its sidecar says, got {records}",
            "Nothing was published. The file may be cut short: deliver it again.",
            repeat="ingest",
        )
