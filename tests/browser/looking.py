"""What every page must be: readable by everybody, and worth a picture in the docs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

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
    """Writes the screen as `<name>.png` where NIGHTSHIFT_PICTURES names a folder (`make pictures`)."""
    if folder := os.environ.get("NIGHTSHIFT_PICTURES"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"{name}.png")
