"""What the readers of all formats hand on: chunks of records whose cells are not typed yet, and refused records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.settings.source import Column

# Of text with paths of images, which become larger than their paths by far.
IMAGE_PIECE = 1 << 16

Failures = dict[int, str]
"""Row of the chunk -> why its cell was refused."""

Cast = Callable[[Any, str, Column, tuple[str, ...]], tuple[pa.Array, Failures]]
"""(cells, column name, column, null tokens) -> the typed column, null where refused, and what was refused."""


@dataclass(frozen=True)
class Reject:
    """One record that cannot be typed at all; `ordinal` counts records from 0, `line` physical lines from 1."""

    ordinal: int
    line: int
    record: str
    reasons: list[str]


@dataclass(frozen=True)
class Chunk:
    """Records of one piece of the source. `cells`, `ordinals` and `lines` belong to the well-formed ones, in order."""

    cells: dict[str, Any]
    ordinals: np.ndarray
    lines: np.ndarray
    record: Callable[[int], str]
    cast: Cast
    rejects: list[Reject] = field(default_factory=list)


@dataclass
class Tally:
    """Counted by the parser while it reads; compared with an independent count afterwards."""

    records: int = 0
    lines: int = 0  # physical lines of the records
    blank_lines: int = 0
    header_lines: int = 0

    @property
    def physical_lines(self) -> int:
        return self.lines + self.blank_lines + self.header_lines


_SHOWN = {"na", "n/a", "null", "none", "nan", "inf", "-inf", "true", "false", "yes", "no", "-", "?", ""}
_LONGEST_SHAPE = 24


def shape(value: object) -> str:
    """How a refused value looks, without telling it: digits as 9, letters as x, at most 24 characters."""
    text = str(value)
    if text.strip().lower() in _SHOWN:
        return f"'{text.strip()}'"
    masked = "".join("9" if mark.isdigit() else "x" if mark.isalpha() else mark for mark in text[:_LONGEST_SHAPE])
    masked = masked.encode("unicode_escape").decode("ascii")
    return f"'{masked}'" + (f"... ({len(text):,} characters)" if len(text) > _LONGEST_SHAPE else "")
