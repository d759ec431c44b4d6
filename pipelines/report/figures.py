"""Numbers as people read them."""

from __future__ import annotations

import math
from typing import Any

_LARGEST_WRITTEN_OUT = 1e12
_DIGITS, _MOST_DECIMALS = 4, 8
_UNITS = ("bytes", "kB", "MB", "GB", "TB")


def figure(value: Any, beside: float | None = None) -> str:
    """A number with four digits, or to the decimals that `beside` then has; a dash where there is none."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if beside:
        return f"{value:z.{min(max(_DIGITS - 1 - math.floor(math.log10(abs(beside))), 0), _MOST_DECIMALS)}f}"
    short = float(f"{value:.{_DIGITS}g}")
    return f"{short:,.0f}" if 10_000 <= abs(short) < _LARGEST_WRITTEN_OUT else f"{short:.{_DIGITS}g}"


def size(count: int | None) -> str:
    """Bytes in the unit that leaves one to three digits before the point."""
    if count is None:
        return "–"
    value, unit = float(count), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:,.0f} {_UNITS[unit]}" if unit == 0 or value >= 100 else f"{value:.3g} {_UNITS[unit]}"


def seconds(count: float | None) -> str:
    """A duration: '0.3 s', '42 s', '3 min 05 s', '2 h 10 min'."""
    if count is None:
        return "–"
    if count < 10:
        return f"{count:.1f} s"
    whole = round(count)
    minutes, rest = divmod(whole, 60)
    if whole < 60:
        return f"{whole} s"
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
