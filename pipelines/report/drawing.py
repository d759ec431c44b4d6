"""From a matplotlib figure to SVG that stands in a page: its colours, its font, no styles of its own, the same bytes
for the same data.

Figures are drawn one at a time (routes run in threads, and matplotlib's settings belong to the process); what was drawn
lately is kept.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import threading
from collections.abc import Callable
from functools import lru_cache
from html import escape
from typing import Any

# Stand-ins that no drawing uses otherwise: matplotlib knows no variables of a style sheet.
TEXT, SOFT, LINE, PAGE = "#010101", "#010102", "#010103", "#010104"
LINK, GOOD, BAD, WATCH, CLEAN, DUPLICATE = "#010105", "#010106", "#010107", "#010108", "#010109", "#01010a"
_VARIABLES = {
    TEXT: "text",
    SOFT: "soft",
    LINE: "line",
    PAGE: "page",
    LINK: "link",
    GOOD: "good",
    BAD: "bad",
    WATCH: "watch",
    CLEAN: "clean",
    DUPLICATE: "dup",
}
FONT_SIZE = 10.0
_MOST_KEPT = 512
_SETTINGS: Any = {
    "svg.fonttype": "none",  # text stays text: small, selectable, in the page's font
    "text.parse_math": False,  # a '$' in the name of a column is a '$'
    "font.size": FONT_SIZE,
    "path.simplify": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "axes.edgecolor": LINE,
    "axes.labelcolor": SOFT,
    "text.color": SOFT,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": SOFT,
    "ytick.labelcolor": SOFT,
    "xtick.labelsize": FONT_SIZE,
    "ytick.labelsize": FONT_SIZE,
}
_ONE_AT_A_TIME = threading.Lock()

Painter = Callable[..., None]


def drawn(painter: Painter, width: int, height: int, text: str, **data: Any) -> str:
    """The SVG element of `painter(figure, **data)`, `width` by `height` pixels where the page is wide enough.

    Args:
        text: what is to be seen, in words, for those who do not see it.
        data: JSON-able; the painter gets it back from JSON, so tuples become lists.
    """
    return _drawn(painter, width, height, text, json.dumps(data))


def load() -> None:
    """Imports what draws, which takes a second: for a server, so that its first page does not wait for it."""
    import matplotlib.backends.backend_svg
    import matplotlib.figure  # noqa: F401


def forget() -> None:
    """Draws everything anew from now on."""
    _drawn.cache_clear()


@lru_cache(maxsize=_MOST_KEPT)
def _drawn(painter: Painter, width: int, height: int, text: str, data: str) -> str:
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    salt = hashlib.sha256(f"{painter.__name__} {width} {height} {text} {data}".encode()).hexdigest()[:12]
    target = io.StringIO()
    with _ONE_AT_A_TIME, matplotlib.rc_context(_SETTINGS | {"svg.hashsalt": salt}):
        figure = Figure(figsize=(width / 72, height / 72), dpi=72, facecolor="none", edgecolor="none")
        canvas = FigureCanvasSVG(figure)
        painter(figure, **json.loads(data))
        canvas.print_svg(target, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return _inline(target.getvalue(), width, height, text)


def _inline(svg: str, width: int, height: int, text: str) -> str:
    """Without prologue, size in points, styles that would hold for the whole page, and names nobody refers to."""
    body = svg[svg.index("<svg") :]
    body = " ".join(line.strip() for line in body[body.index(">") + 1 :].splitlines())
    body = re.sub(r" <defs> <style[^>]*>.*?</style> </defs>", "", body)
    used = set(re.findall(r'(?:href="|url\()#([\w-]+)', body))
    body = re.sub(r' id="([^"]+)"', lambda found: found[0] if found[1] in used else "", body)
    body = re.sub(r"<!--.*?--> ?", "", body)
    body = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", body)
    body = re.sub(r" ?font-family: [^;\"]*;?", "", body)
    body = body.replace("xlink:href", "href")
    body = re.sub(r"<[^<>]+>", _in_tenths, body)
    for stand_in, variable in _VARIABLES.items():
        body = body.replace(stand_in, f"var(--{variable})")
    style = f"width: 100%; height: auto; max-width: {1.4 * width:.0f}px"
    return (
        f'<svg class="drawn" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(text)}" style="{style}" '
        f'stroke-linejoin="round">{body.rstrip()}'
    )


def _in_tenths(tag: re.Match[str]) -> str:
    """Less than a tenth of a pixel is nothing to be seen."""
    return re.sub(r"(?<=\.\d)\d+", "", tag[0])
