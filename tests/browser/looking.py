"""What every page must be: readable by everybody, and worth a picture in the docs."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from playwright.sync_api import Frame, Page

_SERIOUS = ("serious", "critical")


def problems(page: Page | Frame) -> list[str]:
    """What axe calls serious or critical: rule, its help, and where."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {one['help']} at {', '.join(str(node['target'][0]) for node in one['nodes'][:3])}"
        for one in found
        if one["impact"] in _SERIOUS
    ]


def picture(page: Page, name: str) -> None:
    """Writes the screen as `<name>.png`, in 256 colours, where NIGHTSHIFT_PICTURES names a folder (`make pictures`)."""
    if folder := os.environ.get("NIGHTSHIFT_PICTURES"):
        screen = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        Path(folder).mkdir(parents=True, exist_ok=True)
        screen.quantize(256, dither=Image.Dither.NONE).save(Path(folder) / f"{name}.png", optimize=True)
