"""The drawings of pages and reports: plain numbers in, the text of an SVG element out.

Every drawing has words for those who do not see it, says nothing by colour alone, takes the colours and the font of the
page around it (light or dark), and needs no script and no network. `None` is a gap: a value that is not known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.report import paint
from pipelines.report.drawing import drawn

WIDE = 640
_MOST_NAMED = 3

Values = Sequence[float | None]


def line(
    title: str,
    keys: Sequence[str],
    values: Values,
    *,
    estimated: Values = (),
    changes: Mapping[str, str] | None = None,
    height: int = 170,
) -> str:
    """A value per partition, oldest first, with gaps; `estimated` is a second line (dotted) on the same scale.

    Args:
        changes: partition to a short name such as "v7": a dashed line where another champion begins.
    """
    marked = {key: name for key, name in (changes or {}).items() if key in set(keys)}
    text = f"{title}, {_span(keys)}: {_course(keys, values)}"
    if any(value is not None for value in estimated):
        text += f"; estimated without labels {_course(keys, estimated)}"
    text += "".join(f"; {name} from {key}" for key, name in marked.items())
    data = {"keys": list(keys), "values": list(values), "estimated": list(estimated), "changes": marked}
    return drawn(paint.line, WIDE, height, text, **data)


def sparkline(title: str, values: Values) -> str:
    """A line the size of a word, without axes; empty below two known values."""
    if sum(value is not None for value in values) < 2:
        return ""
    places = [str(place) for place in range(len(values))]
    return drawn(paint.sparkline, 96, 24, f"{title}: {_course(places, values)}", values=list(values))


def row_bars(
    title: str,
    keys: Sequence[str],
    rows: Mapping[str, Sequence[int | None]],
    *,
    changes: Mapping[str, str] | None = None,
    height: int = 170,
) -> str:
    """Stacked bars per partition, oldest first; `rows` holds a number per partition for each kind, drawn in its order.

    Kinds "clean", "quarantined" and "duplicate" have colours and hatchings of their own.
    """
    marked = {key: name for key, name in (changes or {}).items() if key in set(keys)}
    sums = [f"{sum(value or 0 for value in counts):,} {kind}" for kind, counts in rows.items()]
    text = f"{title}, {_span(keys)}: {', '.join(sums)} in all"
    data = {"keys": list(keys), "rows": {kind: list(counts) for kind, counts in rows.items()}, "changes": marked}
    return drawn(paint.row_bars, WIDE, height, text, **data)


def intervals(
    title: str,
    rows: Sequence[tuple[str, float | None, float | None, float | None]],
    *,
    reference: float | None = None,
    reference_name: str = "",
) -> str:
    """(name, low, point, high) one below the other; `low` or `high` None: open on that side.

    Args:
        reference: a value drawn as a dashed line, such as the margin that must be cleared.
    """
    known = [row for row in rows if row[2] is not None or (row[1] is not None and row[3] is not None)]
    said = [f"{name} {_number(point)} ({_number(low)} to {_number(high)})" for name, low, point, high in known]
    beside = f"; dashed: {f'{reference_name} {_number(reference)}'.strip()}" if reference is not None else ""
    text = f"{title}: {'; '.join(said) or 'nothing was measured'}{beside}"
    data = {"rows": [list(row) for row in known], "reference": reference, "reference_name": reference_name}
    return drawn(paint.intervals, WIDE, 44 + 24 * max(1, len(known)), text, **data)


def calibration(
    title: str, curve: Sequence[Mapping[str, Any]], *, before: Sequence[Mapping[str, Any]] = (), share: str = "positive"
) -> str:
    """Share positive against mean score per bin; larger dots hold more rows, `before` (dotted): uncalibrated.

    Args:
        curve: {"mean_score", "share_positive", "rows"} per bin.
        share: what the share is of, such as "positive" or "right".
    """
    furthest = max((abs(one["share_positive"] - one["mean_score"]) for one in curve), default=0.0)
    text = f"{title}: share {share} against mean score in {len(curve)} bins, at most {furthest:.2g} apart"
    data = {"curve": [dict(one) for one in curve], "before": [dict(one) for one in before], "share": share}
    return drawn(paint.calibration, 320, 300, text, **data)


def heat_map(
    title: str,
    columns: Sequence[str],
    keys: Sequence[str],
    values: Sequence[Values],
    *,
    cell_text: str = "of its limit",
) -> str:
    """A row per column, a cell per partition (oldest first): darker is more, a cross says that 1 was passed.

    Args:
        values: `values[column][partition]`, as a share of the limit of that column, so that 1 is the limit.
        cell_text: what a value is a share of, in the words for those who do not see it.
    """
    worst = [
        (max((value for value in row if value is not None), default=0.0), name)
        for row, name in zip(values, columns, strict=True)
    ]
    named = [
        f"{name} up to {top:.0%} {cell_text}" for top, name in sorted(worst, key=lambda one: -one[0])[:_MOST_NAMED]
    ]
    over = sum(top > 1 for top, _ in worst)
    text = f"{title}, {_span(keys)}: {over} of {len(columns)} columns passed their limit; {'; '.join(named)}"
    data = {"columns": list(columns), "keys": list(keys), "values": [list(row) for row in values]}
    return drawn(paint.heat_map, WIDE, 40 + 17 * max(1, len(columns)), text, **data)


def _span(keys: Sequence[str]) -> str:
    return f"{keys[0]} to {keys[-1]}" if keys else "no partitions"


def _course(keys: Sequence[str], values: Values) -> str:
    """'0.91 to 0.95, newest 0.93 of 2024-03-30'."""
    known = [(key, value) for key, value in zip(keys, values, strict=True) if value is not None]
    if not known:
        return "no value known"
    numbers = [value for _, value in known]
    key, newest = known[-1]
    of = "" if key.isdecimal() else f" of {key}"
    return f"{_number(min(numbers))} to {_number(max(numbers))}, newest {_number(newest)}{of}"


def _number(value: float | None) -> str:
    return "open" if value is None else f"{value:.4g}"
