"""Commands that the documentation shows."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipelines.home import REPOSITORY

PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`\n]+)`")
_PROGRAM = re.compile(r"^(?:\.venv/bin/)?(nightshift|make|python -m benchmarks\S*)(?:\s|$)")


@dataclass(frozen=True)
class Shown:
    """A command as a page shows it; without prompt and comment."""

    page: str
    text: str

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text, comments=True)


def sessions(page: Path) -> list[list[Shown]]:
    """The `console` blocks of a page: what stands behind a prompt, in order."""
    blocks = [body for language, body in _FENCE.findall(page.read_text()) if language == "console"]
    return [[Shown(page.name, line[2:]) for line in block.splitlines() if line.startswith("$ ")] for block in blocks]


def commands() -> Iterator[Shown]:
    """Every command of ours in any block or between backticks, on any page."""
    for page in PAGES:
        text = page.read_text()
        blocks = [line.removeprefix("$ ") for _, body in _FENCE.findall(text) for line in body.splitlines()]
        for line in (*blocks, *_INLINE.findall(_FENCE.sub("", text))):
            if _PROGRAM.match(line.strip()):
                yield Shown(page.name, line.strip())
