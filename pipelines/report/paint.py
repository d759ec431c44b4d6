"""What is drawn on a figure, by the parts of matplotlib that know no global state (never pyplot)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import nan
from typing import TYPE_CHECKING, Any

from pipelines.report.drawing import BAD, CLEAN, DUPLICATE, FONT_SIZE, LINE, LINK, PAGE, SOFT, TEXT, WATCH

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_KINDS = {"clean": (CLEAN, ""), "quarantined": (WATCH, "////"), "duplicate": (DUPLICATE, "xx")}
_CHARACTER = 0.56 * FONT_SIZE  # pixels, of a usual sans-serif
_LONGEST_NAME = 30
_LEVELS = ((0.25, 0.18), (0.5, 0.34), (0.75, 0.52), (1.0, 0.72), (float("inf"), 1.0))  # up to, opacity

Values = Sequence[float | None]


def line(figure: Figure, keys: Sequence[str], values: Values, estimated: Values, changes: Mapping[str, str]) -> None:
    axes = _axes(figure, 52, 8, 18, 24)
    places = range(len(keys))
    if estimated:
        axes.plot(places, _gaps(estimated), color=SOFT, linewidth=1.4, linestyle=(0, (1, 2)))
    axes.plot(places, _gaps(values), color=LINK, linewidth=1.8)
    _lone_points(axes, values)
    axes.grid(axis="y", color=LINE, linewidth=0.5)
    axes.locator_params(axis="y", nbins=4)
    _ticks(axes, keys)
    _marks(axes, keys, changes)


def sparkline(figure: Figure, values: Values) -> None:
    """Straight on the figure: axes would cost more than everything else."""
    from matplotlib.lines import Line2D

    known = [value for value in values if value is not None]
    low, span = min(known), max(known) - min(known)
    across = [0.03 + 0.94 * place / (len(values) - 1) for place in range(len(values))]
    down = [
        float("nan") if value is None else 0.12 + 0.76 * ((value - low) / span if span else 0.5) for value in values
    ]
    last = max(place for place, value in enumerate(values) if value is not None)
    figure.add_artist(Line2D(across, down, color=LINK, linewidth=1.5, marker="o", markersize=4, markevery=[last]))


def row_bars(
    figure: Figure, keys: Sequence[str], rows: Mapping[str, Sequence[int | None]], changes: Mapping[str, str]
) -> None:
    axes = _axes(figure, 52, 8, 34, 24)
    bottom = [0] * len(keys)
    for kind, counts in rows.items():
        color, hatch = _KINDS.get(kind, (LINK, ""))
        top = [low + (count or 0) for low, count in zip(bottom, counts, strict=True)]
        boxes = [(x, low, high) for x, (low, high) in enumerate(zip(bottom, top, strict=True)) if high > low]
        _boxes(axes, boxes, 0.82, facecolor=color, hatch=hatch, edgecolor=PAGE, label=kind)
        bottom = top
    axes.locator_params(axis="y", nbins=4)
    axes.yaxis.set_major_formatter(_thousands)
    axes.set_ylim(0, max(bottom, default=0) or 1)
    _ticks(axes, keys)
    _marks(axes, keys, changes)
    figure.legend(loc="upper right", ncols=len(rows), frameon=False, fontsize=FONT_SIZE, borderpad=0)


def intervals(
    figure: Figure,
    rows: Sequence[tuple[str, float | None, float | None, float | None]],
    reference: float | None,
    reference_name: str,
) -> None:
    names = [_short(row[0]) for row in rows]
    axes = _axes(figure, _margin(names), 14, 22, 22)
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
    axes = _axes(figure, 44, 10, 10, 36)
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


def heat_map(figure: Figure, columns: Sequence[str], keys: Sequence[str], values: Sequence[Values]) -> None:
    names = [_short(name) for name in columns]
    axes = _axes(figure, _margin(names), 8, 6, 24)
    cells = [(x, y, value) for y, row in enumerate(values) for x, value in enumerate(row) if value is not None]
    under = float("-inf")
    for upto, opacity in _LEVELS:
        boxes = [(x, y - 0.44, y + 0.44) for x, y, value in cells if under < value <= upto]
        _boxes(axes, boxes, 0.88, facecolor=WATCH, alpha=opacity)
        under = upto
    over = [(x, y) for x, y, value in cells if value > 1]
    axes.plot([x for x, _ in over], [y for _, y in over], "x", color=PAGE, markersize=4, markeredgewidth=1.4)
    gaps = [(x, y - 0.05, y + 0.05) for y, row in enumerate(values) for x, value in enumerate(row) if value is None]
    _boxes(axes, gaps, 0.25, facecolor=SOFT)
    axes.set_xlim(-0.5, max(0.5, len(keys) - 0.5))
    axes.set_ylim(max(0.5, len(names) - 0.5), -0.5)
    axes.yaxis.set_visible(False)  # as ticks the names would be laid out three times
    for place, name in enumerate(names):
        axes.text(-0.7, place, name, ha="right", va="center_baseline", color=TEXT)
    _ticks(axes, keys)


def _boxes(axes: Axes, boxes: Sequence[tuple[int, float, float]], width: float, **look: Any) -> None:
    """(place, from, to) as one path: a page must not hold a thousand rectangles."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    half, codes = width / 2, [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY]
    points = [
        (x + side, y)
        for x, low, high in boxes
        for side, y in ((-half, low), (half, low), (half, high), (-half, high), (-half, low))
    ]
    path = Path(points, codes * len(boxes)) if boxes else Path([(0, 0)])  # an empty kind stands in the legend
    # Limits are set by hand; `add_patch` would look for them, which takes longer than to draw.
    axes.add_artist(PathPatch(path, linewidth=0, **look))


def _axes(figure: Figure, left: float, right: float, top: float, bottom: float) -> Axes:
    """One pair of axes with margins in pixels."""
    width, height = (72 * size for size in figure.get_size_inches())
    place = (left / width, bottom / height, 1 - (left + right) / width, 1 - (top + bottom) / height)
    return figure.add_axes(place)


def _ticks(axes: Axes, keys: Sequence[str]) -> None:
    """The keys of some partitions, evenly, the newest among them and within the drawing."""
    axes.set_xlim(-0.6, max(1, len(keys)) - 0.4)
    if not keys:
        return
    step = max(1, -(-1.8 * _CHARACTER * len(keys[-1]) // _cell(axes, keys)))
    places = list(range(len(keys) - 1, -1, -int(step)))[::-1]
    axes.set_xticks(places, [keys[place] for place in places])
    if len(keys) > 1:
        axes.get_xticklabels()[-1].set_horizontalalignment("right")


def _cell(axes: Axes, keys: Sequence[str]) -> float:
    """Width of one partition in pixels."""
    return float(axes.bbox.width / max(1, len(keys)))


def _marks(axes: Axes, keys: Sequence[str], changes: Mapping[str, str]) -> None:
    """Dashed lines with names, a name left out where it would lie on the one before."""
    from matplotlib.lines import Line2D

    width = _cell(axes, keys)
    free, across, up = -1.0, list[float](), list[float]()
    places = {key: place for place, key in enumerate(keys)}
    for key, name in changes.items():
        place = places[key] - 0.5
        across, up = [*across, place, place, nan], [*up, 0, 1, nan]
        if place * width > free:
            axes.annotate(name, (place, 1), (2, 2), ("data", "axes fraction"), "offset points", color=WATCH)
            free = place * width + _CHARACTER * (len(name) + 1)
    look: Any = {"color": WATCH, "linewidth": 1.2, "linestyle": (0, (3, 2))}
    axes.add_artist(Line2D(across, up, transform=axes.get_xaxis_transform(), **look))


def _lone_points(axes: Axes, values: Values) -> None:
    """A value between two gaps has no line; it is a dot."""
    around = [None, *values, None]
    lone = [x for x, value in enumerate(values) if value is not None and around[x] is None and around[x + 2] is None]
    axes.plot(lone, [_gaps(values)[x] for x in lone], "o", color=LINK, markersize=3)


def _gaps(values: Values) -> list[float]:
    return [float("nan") if value is None else value for value in values]


def _margin(names: Sequence[str]) -> float:
    return 12 + 1.12 * _CHARACTER * max((len(name) for name in names), default=0)


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def _thousands(value: float, _place: float) -> str:
    return f"{value:,.0f}"
