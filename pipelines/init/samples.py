"""Which files a sample is, what they are written in, and whether their names say which partition they hold."""

from __future__ import annotations

import gzip
import os
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from pipelines.errors import DataError, names, quote
from pipelines.init.dated_names import dated_pattern
from pipelines.partitions import Grain

Format = Literal["csv", "jsonl", "parquet"]
HEAD_BYTES = 1 << 20
_ENDINGS = re.compile(r"\.(csv|tsv|txt|psv|jsonl|ndjson|json|parquet|pq)(\.gz)?$", re.IGNORECASE)
_GZIP = b"\x1f\x8b"
_BINARY = {
    b"PK\x03\x04": "a zip archive (also Excel's .xlsx is one)",
    b"\xd0\xcf\x11\xe0": "an old Office file",
    b"\x28\xb5\x2f\xfd": "a zstd archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
    b"ARROW1": "an Arrow file",
    b"SQLite format 3": "a SQLite database",
    b"%PDF": "a PDF",
}
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class Sample:
    """`pattern`: the path with `{partition}`, and `keys` the partition of each file, where all names have a date."""

    files: tuple[Path, ...]
    format: Format
    pattern: str | None = None
    keys: tuple[str, ...] = ()
    grain: Grain = "day"

    @property
    def size(self) -> int:
        return sum(file.stat().st_size for file in self.files)

    @property
    def told(self) -> str:
        """How people call it."""
        first, last = self.files[0].name, self.files[-1].name
        return first if len(self.files) == 1 else f"{len(self.files)} files, {first} to {last}"


def find_sample(given: Sequence[Path]) -> Sample:
    """The files that are given, or lie in the folder that is given, in the order of their names.

    Raises:
        DataError: E-INIT-FILE, E-INIT-EMPTY, E-INIT-FORMAT.
    """
    files = tuple(sorted({file for one in given for file in _files(one)}))
    if not files:
        what = "no file ends in .csv, .tsv, .txt, .jsonl, .ndjson or .parquet (or one of these with .gz)"
        raise DataError("E-INIT-FILE", ", ".join(map(str, given)), what, "Name the files themselves.")
    kinds: dict[Format, Path] = {}
    for file in files:
        kinds.setdefault(format_of(file), file)
    if len(kinds) > 1:
        found = " and ".join(f"{kind} ({quote(file.name)})" for kind, file in kinds.items())
        raise DataError("E-INIT-FORMAT", "sample", f"all files must have one format, got {found}", "Name those of one.")
    (kind,) = kinds
    pattern, keys = dated_pattern(files) if len(files) > 1 else (None, ())
    return Sample(files, kind, pattern, keys, _grain(keys))


def _files(given: Path) -> list[Path]:
    place = given.expanduser()
    if not place.exists():
        raise DataError("E-INIT-FILE", str(given), "the file or folder does not exist", "Check the path.")
    if place.is_file():
        return [place.resolve()]
    found = [Path(folder) / name for folder, _, files in os.walk(place) for name in files]
    return [file.resolve() for file in found if _ENDINGS.search(file.name) and not file.name.startswith((".", "_"))]


def head_of(file: Path) -> bytes:
    """The first MiB, decompressed where the content is gzip, whatever the name says.

    Raises:
        DataError: E-INIT-EMPTY, E-INIT-FORMAT for a damaged archive.
    """
    try:
        with file.open("rb") as handle:
            is_gzip = handle.read(2) == _GZIP
            handle.seek(0)
            data = gzip.GzipFile(fileobj=handle).read(HEAD_BYTES) if is_gzip else handle.read(HEAD_BYTES)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError("E-INIT-FORMAT", file.name, f"the gzip file is damaged or cut short ({error})") from error
    if not data.strip():
        raise DataError("E-INIT-EMPTY", file.name, "the file is empty", "Give a file with rows, or leave it out.")
    return data


def is_gzip(file: Path) -> bool:
    with file.open("rb") as handle:
        return handle.read(2) == _GZIP


def format_of(file: Path) -> Format:
    """By content; raises DataError E-INIT-FORMAT for what no source can read."""
    data = head_of(file)
    if data.startswith(b"PAR1"):
        return "parquet"
    what = next((what for magic, what in _BINARY.items() if data.startswith(magic)), None)
    if what is None and b"\x00" in data and not data.startswith(_UTF16):
        what = "binary content (it holds zero bytes)"
    fix = "Export it as CSV, JSON Lines or Parquet."
    if what:
        raise DataError("E-INIT-FORMAT", file.name, f"the file must be CSV, JSON Lines or Parquet, got {what}", fix)
    start = data.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if start == b"[" and ".json" in file.name.lower():
        what = "the file must hold one JSON object per line, got one long list"
        raise DataError("E-INIT-FORMAT", file.name, what, f"Convert it: jq -c '.[]' {file.name} > rows.jsonl")
    return "jsonl" if start == b"{" else "csv"


def _grain(keys: Sequence[str]) -> Grain:
    """Of the dates in the names: hours, else months or weeks where all of them begin one, else days."""
    moments = [datetime.fromisoformat(key) for key in keys]
    if any("T" in key for key in keys):
        return "hour"
    if len(moments) > 1 and all(moment.day == 1 for moment in moments):
        return "month"
    return "week" if len(moments) > 1 and all(moment.weekday() == 0 for moment in moments) else "day"


def require_same_columns(columns: dict[Path, tuple[str, ...]]) -> None:
    """Raises DataError E-INIT-COLUMNS, naming what one file has and another lacks."""
    (first, expected), *others = columns.items()
    for file, found in others:
        if set(found) == set(expected):
            continue
        missing, extra = [one for one in expected if one not in found], [one for one in found if one not in expected]
        parts = [f"lacks {names(missing)}"] * bool(missing) + [f"has {names(extra)} besides"] * bool(extra)
        what = f"all files must have the same columns, but compared with {quote(first.name)} it {' and '.join(parts)}"
        raise DataError("E-INIT-COLUMNS", file.name, what, "Give the files of one feed; start one pipeline for each.")
