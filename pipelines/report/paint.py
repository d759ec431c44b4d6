"""Drawings over partitions, by the parts of matplotlib that know no global state (never pyplot)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import nan
from typing import TYPE_CHECKING, Any

from pipelines.report.axes import CHARACTER, Values, as_one_path, framed, lone_points, margin, short, with_gaps
from pipelines.report.drawing import CLEAN, DUPLICATE, FONT_SIZE, LINE, LINK, PAGE, SOFT, TEXT, WATCH

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_KINDS = {"clean": (CLEAN, ""), "quarantined": (WATCH, "////"), "duplicate": (DUPLICATE, "xx")}
_LEVELS = ((0.25, 0.18), (0.5, 0.34), (0.75, 0.52), (1.0, 0.72), (float("inf"), 1.0))  # up to, opacity


def line(figure: Figure, keys: Sequence[str], values: Values, estimated: Values, changes: Mapping[str, str]) -> None:
    axes = framed(figure, 52, 8, 18, 24)
    places = range(len(keys))
    if estimated:
        axes.plot(places, with_gaps(estimated), color=SOFT, linewidth=1.4, linestyle=(0, (1, 2)))
    axes.plot(places, with_gaps(values), color=LINK, linewidth=1.8)
    lone_points(axes, values)
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
    axes = framed(figure, 52, 8, 34, 24)
    bottom = [0] * len(keys)
    for kind, counts in rows.items():
        color, hatch = _KINDS.get(kind, (LINK, ""))
        top = [low + (count or 0) for low, count in zip(bottom, counts, strict=True)]
        boxes = [(x, low, high) for x, (low, high) in enumerate(zip(bottom, top, strict=True)) if high > low]
        as_one_path(axes, boxes, 0.82, facecolor=color, hatch=hatch, edgecolor=PAGE, label=kind)
        bottom = top
    axes.locator_params(axis="y", nbins=4)
    axes.yaxis.set_major_formatter(_thousands)
    axes.set_ylim(0, max(bottom, default=0) or 1)
    _ticks(axes, keys)
    _marks(axes, keys, changes)
    figure.legend(loc="upper right", ncols=len(rows), frameon=False, fontsize=FONT_SIZE, borderpad=0)


def heat_map(figure: Figure, columns: Sequence[str], keys: Sequence[str], values: Sequence[Values]) -> None:
    names = [short(name) for name in columns]
    axes = framed(figure, margin(names), 8, 6, 24)
    cells = [(x, y, value) for y, row in enumerate(values) for x, value in enumerate(row) if value is not None]
    under = float("-inf")
    for upto, opacity in _LEVELS:
        boxes = [(x, y - 0.44, y + 0.44) for x, y, value in cells if under < value <= upto]
        as_one_path(axes, boxes, 0.88, facecolor=WATCH, alpha=opacity)
        under = upto
    over = [(x, y) for x, y, value in cells if value > 1]
    axes.plot([x for x, _ in over], [y for _, y in over], "x", color=PAGE, markersize=4, markeredgewidth=1.4)
    gaps = [(x, y - 0.05, y + 0.05) for y, row in enumerate(values) for x, value in enumerate(row) if value is None]
    as_one_path(axes, gaps, 0.25, facecolor=SOFT)
    axes.set_xlim(-0.5, max(0.5, len(keys) - 0.5))
    axes.set_ylim(max(0.5, len(names) - 0.5), -0.5)
    axes.yaxis.set_visible(False)  # as ticks the names would be laid out three times
    for place, name in enumerate(names):
        axes.text(-0.7, place, name, ha="right", va="center_baseline", color=TEXT)
    _ticks(axes, keys)


def _ticks(axes: Axes, keys: Sequence[str]) -> None:
    """The keys of some partitions, evenly, the newest among them and within the drawing."""
    axes.set_xlim(-0.6, max(1, len(keys)) - 0.4)
    if not keys:
        return
    step = max(1, -(-1.8 * CHARACTER * len(keys[-1]) // _cell(axes, keys)))
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
            free = place * width + CHARACTER * (len(name) + 1)
    look: Any = {"color": WATCH, "linewidth": 1.2, "linestyle": (0, (3, 2))}
    axes.add_artist(Line2D(across, up, transform=axes.get_xaxis_transform(), **look))


def _thousands(value: float, _place: float) -> str:
    return f"{value:,.0f}"
