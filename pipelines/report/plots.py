"""The drawings of pages and reports: plain numbers in, the text of an SVG element out.

Every drawing has words for those who do not see it, says nothing by colour alone, takes the colours and the font of the
page around it (light or dark), and needs no script and no network. `None` is a gap: a value that is not known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.report import paint, paint_models
from pipelines.report.axes import short
from pipelines.report.drawing import drawn

WIDE, PANEL = 640, 240
_MOST_NAMED = 3
_MOST_FEATURES = 20
_MOST_POINTS = 40
_MOST_BARS = 48  # of one panel

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
    return drawn(paint_models.intervals, WIDE, 44 + 24 * max(1, len(known)), text, **data)


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
    return drawn(paint_models.calibration, 320, 300, text, **data)


def importance(title: str, rows: Sequence[tuple[str, float, float]], *, metric: str) -> str:
    """A bar per feature and the spread of its loss, the first above; at most twenty, empty where all are zero.

    Args:
        rows: (feature, loss of the metric without it, standard deviation of that loss), the strongest first.
    """
    if not any(loss or spread for _, loss, spread in rows):
        return ""
    named = [f"{name} {_number(loss)} ± {_number(spread)}" for name, loss, spread in rows[:_MOST_NAMED]]
    within = sum(loss <= spread for _, loss, spread in rows)
    text = f"{title}: {'; '.join(named)}; {within} of {len(rows)} features lose no more than their spread"
    if len(rows) > _MOST_FEATURES:
        text += f"; the first {_MOST_FEATURES} are drawn"
    data = {"rows": [list(row) for row in rows[:_MOST_FEATURES]], "metric": metric}
    return drawn(paint_models.importance, WIDE, 40 + 18 * min(len(rows), _MOST_FEATURES), text, **data)


def dependence(
    feature: str, values: Sequence[float | str], curves: Mapping[str, Values], *, scale: tuple[float, float]
) -> str:
    """The mean score by the value of a feature: a line per output over numbers, bars for texts.

    Args:
        curves: output to a mean score per value; the first eight are drawn. So are the first values where there are
            many texts, and some, evenly, where there are many numbers.
        scale: the lowest and the highest score of the drawing, the same for all that stand side by side.
    """
    shown = dict(list(curves.items())[: paint_models.MOST_OUTPUTS])
    kept = drawn_values(values, len(shown))
    text = f"{feature}, {_told(values, kept)}: {_ends(values, shown)}"
    if len(curves) > _MOST_NAMED:
        text += f"; and {len(curves) - _MOST_NAMED} more outputs"
    low, high = scale
    data = {"low": low, "high": high, "curves": [[curve[at] for at in kept] for curve in shown.values()]}
    if is_numbers(values):
        return drawn(paint_models.number_dependence, PANEL, 150, text, **data, values=[values[at] for at in kept])
    height = 26 + len(kept) * (18 if len(shown) == 1 else 6 + 6 * len(shown))
    texts = [str(values[at]) for at in kept]
    return drawn(paint_models.text_dependence, PANEL, height, text, **data, values=texts)


def outputs(names: Sequence[str]) -> str:
    """What the lines and bars of `dependence` stand for; empty for one output, which needs no telling."""
    shown = names[: paint_models.MOST_OUTPUTS]
    if len(shown) < 2:
        return ""
    return drawn(paint_models.outputs, PANEL, 6 + 15 * len(shown), f"Outputs: {', '.join(shown)}", names=list(shown))


def is_numbers(values: Sequence[float | str]) -> bool:
    return not any(isinstance(value, str | bool) for value in values)


def drawn_values(values: Sequence[float | str], outputs: int) -> list[int]:
    """Places of the values that `dependence` draws: the first texts, or numbers evenly, both ends among them."""
    if not is_numbers(values):
        per_value = min(max(outputs, 1), paint_models.MOST_OUTPUTS)
        return list(range(min(len(values), _MOST_BARS // per_value)))
    last, count = len(values) - 1, min(len(values), _MOST_POINTS)
    return [round(place * last / (count - 1)) for place in range(count)] if count > 1 else list(range(count))


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


def _told(values: Sequence[float | str], kept: Sequence[int]) -> str:
    if is_numbers(values):
        return f"{_value(values[0])} to {_value(values[-1])}"
    return f"{len(values)} values" + (f", {len(kept)} drawn" if len(kept) < len(values) else "")


def _ends(values: Sequence[float | str], curves: Mapping[str, Values]) -> str:
    """'mean score 0.04 at DE to 0.19 at FR', of each output."""
    found = []
    for name, curve in list(curves.items())[:_MOST_NAMED]:
        known = [(mean, _value(value)) for mean, value in zip(curve, values, strict=True) if mean is not None]
        ends = [extreme(known, key=lambda one: one[0]) for extreme in (min, max)] if known else []
        of = f" of {name}" if len(curves) > 1 else ""
        told = " to ".join(f"{_number(mean)} at {value}" for mean, value in ends)
        found.append(f"mean score{of} {told or 'not known'}")
    return "; ".join(found)


def _value(value: float | str) -> str:
    return short(str(value)) if isinstance(value, str | bool) else f"{value:.4g}"
