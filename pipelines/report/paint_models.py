"""Drawings about one model, by the parts of matplotlib that know no global state (never pyplot)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import nan
from typing import TYPE_CHECKING, Any

from pipelines.report.axes import Values, framed, lone_points, margin, short, strokes, with_gaps
from pipelines.report.drawing import BAD, CLEAN, DUPLICATE, FONT_SIZE, GOOD, LINE, LINK, SOFT, TEXT, WATCH

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Outputs differ by colour and by dashes, so that none is told by its colour alone.
_LOOKS: Sequence[tuple[str, Any]] = (
    (LINK, "-"),
    (BAD, (0, (5, 1.5))),
    (GOOD, (0, (1, 1))),
    (WATCH, (0, (5, 1.5, 1, 1.5))),
    (TEXT, (0, (10, 2))),
    (DUPLICATE, (0, (2.5, 1))),
    (CLEAN, (0, (5, 1, 1, 1, 1, 1))),
    (SOFT, (0, (10, 2, 1, 2))),
)
MOST_OUTPUTS = len(_LOOKS)
_LONGEST_VALUE, _LONGEST_OUTPUT = 14, 28
_GROUP = 0.8  # of the height of a value, for its bars


def intervals(
    figure: Figure,
    rows: Sequence[tuple[str, float | None, float | None, float | None]],
    reference: float | None,
    reference_name: str,
) -> None:
    names = [short(row[0]) for row in rows]
    axes = framed(figure, margin(names), 14, 22, 22)
    numbers = [value for row in rows for value in (*row[1:], reference) if value is not None]
    left, right = (min(numbers), max(numbers)) if numbers else (0.0, 1.0)
    room = 0.06 * (right - left) or 0.5
    for place, (_, low, point, high) in enumerate(rows):
        start, end = (left - room if low is None else low), (right + room if high is None else high)
        axes.plot([start, end], [place, place], color=LINK, linewidth=2.2, solid_capstyle="butt")
        ends = [end_ for end_, is_known in ((start, low is not None), (end, high is not None)) if is_known]
        axes.plot(ends, [place] * len(ends), "|", color=LINK, markersize=9, markeredgewidth=1.8)
        if point is not None:
            axes.plot([point], [place], "o", color=TEXT, markersize=5)
    axes.set_xlim(left - room, right + room)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(range(len(rows)), names)
    axes.tick_params(axis="y", length=0, labelcolor=TEXT)
    axes.locator_params(axis="x", nbins=6)
    if reference is not None:
        axes.axvline(reference, color=BAD, linewidth=1.2, linestyle="--")
        shown = f"{reference_name} {reference:.4g}".strip()
        axes.annotate(shown, (reference, -0.5), (0, 4), textcoords="offset points", ha="center", color=SOFT)


def calibration(
    figure: Figure, curve: Sequence[Mapping[str, Any]], before: Sequence[Mapping[str, Any]], share: str
) -> None:
    axes = framed(figure, 44, 10, 10, 36)
    axes.plot([0, 1], [0, 1], color=SOFT, linewidth=1, linestyle="--")
    for points, color, style in ((before, SOFT, ":"), (curve, LINK, "-")):
        across, up = [one["mean_score"] for one in points], [one["share_positive"] for one in points]
        axes.plot(across, up, color=color, linestyle=style, linewidth=1.6)
    most = max((one["rows"] for one in curve), default=1) or 1
    for one in curve:
        size = 3 + 7 * (one["rows"] / most) ** 0.5
        axes.plot([one["mean_score"]], [one["share_positive"]], "o", color=LINK, markersize=size)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("mean score")
    axes.set_ylabel(f"share {share}")


def importance(figure: Figure, rows: Sequence[tuple[str, float, float]], metric: str) -> None:
    names = [short(row[0]) for row in rows]
    axes = framed(figure, margin(names), 14, 4, 36)
    bars = [(place, 0.0, loss) for place, (_, loss, _) in enumerate(rows)]
    strokes(axes, bars, color=LINK, alpha=0.55, linewidth=11)
    across, down = list[float](), list[float]()
    for place, (_, loss, spread) in enumerate(rows):
        low, high = loss - spread, loss + spread
        across += [low, low, nan, low, high, nan, high, high, nan]
        down += [place - 0.18, place + 0.18, nan, place, place, nan, place - 0.18, place + 0.18, nan]
    axes.plot(across, down, color=TEXT, linewidth=1.2)
    axes.axvline(0, color=SOFT, linewidth=1)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(range(len(rows)), names)
    axes.tick_params(axis="y", length=0, labelcolor=TEXT)
    axes.locator_params(axis="x", nbins=6)
    axes.set_xlabel(f"loss of {metric}")


def number_dependence(
    figure: Figure, values: Sequence[float], curves: Sequence[Values], low: float, high: float
) -> None:
    axes = framed(figure, 46, 18, 14, 22)
    marker = "." if len(curves) == 1 else ""
    for (color, style), curve in zip(_LOOKS, curves, strict=False):
        axes.plot(values, with_gaps(curve), color=color, linestyle=style, linewidth=1.8, marker=marker, markersize=6)
        lone_points(axes, curve, values, color)
    axes.set_ylim(low, high)
    axes.grid(axis="y", color=LINE, linewidth=0.5)
    axes.locator_params(nbins=4)


def text_dependence(figure: Figure, values: Sequence[str], curves: Sequence[Values], low: float, high: float) -> None:
    names = [short(value, _LONGEST_VALUE) for value in values]
    axes = framed(figure, margin(names), 18, 4, 22)
    axes.set_ylim(len(names) - 0.5, -0.5)
    step = _GROUP / len(curves)
    thickness = max(2.0, step * axes.bbox.height / len(names) - 1)
    start = 0.0 if low <= 0 <= high else low
    for order, ((color, style), curve) in enumerate(zip(_LOOKS, curves, strict=False)):
        shift = (order - (len(curves) - 1) / 2) * step
        # From the end of the bar to its beginning: dashes begin with ink, so that the end is where it belongs.
        bars = [(place + shift, mean, start) for place, mean in enumerate(curve) if mean is not None]
        if style != "-":
            strokes(axes, bars, color=color, linewidth=1)  # a gap at the beginning is none
            style = (0, [2.4 * part / thickness for part in style[1]])  # in multiples of the width of the line
        strokes(axes, bars, color=color, linestyle=style, dash_capstyle="butt", linewidth=thickness)
    axes.set_xlim(low, high)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0, labelcolor=TEXT)
    axes.grid(axis="x", color=LINE, linewidth=0.5)
    axes.locator_params(axis="x", nbins=4)


def outputs(figure: Figure, names: Sequence[str]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=color, linestyle=style, linewidth=1.8, label=short(name, _LONGEST_OUTPUT))
        for (color, style), name in zip(_LOOKS, names, strict=False)
    ]
    look: Any = {"frameon": False, "fontsize": FONT_SIZE, "borderpad": 0, "handlelength": 3, "labelcolor": TEXT}
    figure.legend(handles=handles, loc="upper left", **look)
