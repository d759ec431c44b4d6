"""What drawings share: axes with margins in pixels, many shapes as one path, names that fit."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from typing import TYPE_CHECKING, Any

from pipelines.report.drawing import FONT_SIZE, LINK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CHARACTER = 0.56 * FONT_SIZE  # pixels, of a usual sans-serif
LONGEST_NAME = 30

Values = Sequence[float | None]


def framed(figure: Figure, left: float, right: float, top: float, bottom: float) -> Axes:
    """One pair of axes with margins in pixels."""
    width, height = (72 * size for size in figure.get_size_inches())
    place = (left / width, bottom / height, 1 - (left + right) / width, 1 - (top + bottom) / height)
    return figure.add_axes(place)


def as_one_path(axes: Axes, boxes: Sequence[tuple[int, float, float]], width: float, **look: Any) -> None:
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


def strokes(axes: Axes, lines: Sequence[tuple[float, float, float]], **look: Any) -> None:
    """(height, from, to) across as one path; dashes begin at `from`."""
    across = [x for _, start, end in lines for x in (start, end, nan)]
    axes.plot(across, [y for up, _, _ in lines for y in (up, up, nan)], solid_capstyle="butt", **look)


def with_gaps(values: Values) -> list[float]:
    return [nan if value is None else value for value in values]


def lone_points(axes: Axes, values: Values, places: Sequence[float] | None = None, color: str = LINK) -> None:
    """A value between two gaps has no line; it is a dot."""
    around = [None, *values, None]
    lone = [
        at for at, value in enumerate(values) if value is not None and around[at] is None and around[at + 2] is None
    ]
    across = [at if places is None else places[at] for at in lone]
    axes.plot(across, [with_gaps(values)[at] for at in lone], "o", color=color, markersize=3)


def margin(names: Sequence[str]) -> float:
    return 12 + 1.12 * CHARACTER * max((len(name) for name in names), default=0)


def short(name: str, longest: int = LONGEST_NAME) -> str:
    return name if len(name) <= longest else f"{name[: longest - 1]}…"
