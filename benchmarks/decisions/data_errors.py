"""Errors as they happen to tables, put into a share of the rows of one partition; seeded.

The kinds follow Redyuk et al. (EDBT 2021), section 5: explicit and implicit missing values, numeric anomalies, swapped
columns, typos; beside them what a feed does to a night: another unit, a default that floods a column, a cut-off file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_KEYBOARD = ("1234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm")
_IMPLICIT_NUMBER, _IMPLICIT_TEXT = 99_999, "NONE"


@dataclass(frozen=True)
class Injected:
    """One error: its kind, the columns that it spoils, and what it does to the table given the chosen rows."""

    kind: str
    columns: tuple[str, ...]
    spoil: Callable[[pa.Table, np.ndarray, np.random.Generator], pa.Table]

    def into(self, rows: pa.Table, share: float, seed: list[int]) -> pa.Table:
        """`rows` with this error in `share` of them, at least in one."""
        random = np.random.default_rng(seed)
        count = max(1, round(share * rows.num_rows))
        mask = np.zeros(rows.num_rows, bool)
        mask[random.choice(rows.num_rows, count, replace=False)] = True
        return self.spoil(rows, mask, random)


def explicit_missing(column: str) -> Injected:
    return Injected("explicit missing", (column,), _set(column, lambda _: None))


def implicit_missing(column: str) -> Injected:
    """99999 or 'NONE'."""
    return Injected(
        "implicit missing",
        (column,),
        _set(column, lambda kind: _IMPLICIT_TEXT if pa.types.is_string(kind) else _IMPLICIT_NUMBER),
    )


def default_flood(column: str, value: object) -> Injected:
    """A valid value where others should be."""
    return Injected("default flood", (column,), _set(column, lambda _: value))


def unit_change(column: str, factor: float) -> Injected:
    def spoil(rows: pa.Table, mask: np.ndarray, _random: np.random.Generator) -> pa.Table:
        return _scaled(rows, column, mask, factor)

    return Injected("unit change", (column,), spoil)


def numeric_anomaly(column: str) -> Injected:
    """Normal noise around the day's mean with 2 to 5 times its standard deviation."""

    def spoil(rows: pa.Table, mask: np.ndarray, random: np.random.Generator) -> pa.Table:
        values = rows.column(column).cast(pa.float64(), safe=False).to_numpy()
        spread = float(np.nanstd(values)) or 1.0
        drawn = random.normal(float(np.nanmean(values)), random.uniform(2, 5) * spread, len(values))
        kind = rows.column(column).type
        drawn = np.round(drawn) if pa.types.is_integer(kind) else drawn
        return _replaced(rows, column, mask, pa.array(drawn).cast(kind, safe=False))

    return Injected("numeric anomaly", (column,), spoil)


def swapped(first: str, second: str) -> Injected:
    def spoil(rows: pa.Table, mask: np.ndarray, _random: np.random.Generator) -> pa.Table:
        one, other = rows.column(first), rows.column(second)
        spoilt = _replaced(rows, first, mask, other.cast(one.type, safe=False))
        return _replaced(spoilt, second, mask, one.cast(other.type, safe=False))

    return Injected("swapped columns", (first, second), spoil)


def typo(column: str) -> Injected:
    """One character of each text becomes its neighbour on the keyboard."""

    def spoil(rows: pa.Table, mask: np.ndarray, random: np.random.Generator) -> pa.Table:
        texts = rows.column(column).to_pylist()
        wrong = [
            _mistyped(text, random) if is_chosen else text for text, is_chosen in zip(texts, mask.tolist(), strict=True)
        ]
        return _replaced(rows, column, mask, pa.array(wrong, pa.string()))

    return Injected("typo", (column,), spoil)


def truncated() -> Injected:
    """The last rows of the file never arrived."""

    def spoil(rows: pa.Table, mask: np.ndarray, _random: np.random.Generator) -> pa.Table:
        return rows.slice(0, rows.num_rows - int(mask.sum()))

    return Injected("truncated feed", (), spoil)


def _set(
    column: str, value: Callable[[pa.DataType], object]
) -> Callable[[pa.Table, np.ndarray, np.random.Generator], pa.Table]:
    def spoil(rows: pa.Table, mask: np.ndarray, _random: np.random.Generator) -> pa.Table:
        kind = rows.column(column).type
        return _replaced(rows, column, mask, pa.array([value(kind)] * rows.num_rows, kind))

    return spoil


def _scaled(rows: pa.Table, column: str, mask: np.ndarray, factor: float) -> pa.Table:
    kind = rows.column(column).type
    return _replaced(rows, column, mask, pc.multiply(rows.column(column).cast(pa.float64()), factor).cast(kind))


def _replaced(rows: pa.Table, column: str, mask: np.ndarray, values: pa.Array | pa.ChunkedArray) -> pa.Table:
    chosen = pc.if_else(pa.array(mask), values, rows.column(column))
    return rows.set_column(rows.column_names.index(column), column, chosen)


def _mistyped(text: str | None, random: np.random.Generator) -> str | None:
    if not text:
        return text
    places = [at for at, letter in enumerate(text) if _neighbours(letter)]
    if not places:
        return text
    at = places[int(random.integers(len(places)))]
    near = _neighbours(text[at])
    letter = near[int(random.integers(len(near)))]
    return text[:at] + (letter.upper() if text[at].isupper() else letter) + text[at + 1 :]


def _neighbours(letter: str) -> str:
    for line, keys in enumerate(_KEYBOARD):
        at = keys.find(letter.lower())
        if at >= 0:
            beside = keys[max(0, at - 1) : at] + keys[at + 1 : at + 2]
            above = _KEYBOARD[line - 1][at : at + 1] if line else ""
            return beside + above
    return ""
