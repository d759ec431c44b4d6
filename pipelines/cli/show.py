"""How commands print: tables for people, JSON for programs, plain text where output is piped."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

_PIPED_WIDTH = 160
_COLOURS = {
    "released": "green",
    "clean": "green",
    "done": "green",
    "ok": "green",
    "OK": "green",
    "PROMOTE": "green",
    "START": "cyan",
    "PASS": "green",
    "unchanged": "green",
    "absent": "dim",
    "skipped": "dim",
    "running": "cyan",
    "superseded": "dim",
    "WATCH": "yellow",
    "HOLD": "yellow",
    "held": "yellow",
    "warn": "yellow",
    "retracted": "yellow",
    "RETRAIN": "magenta",
    "REJECT": "red",
    "DROP": "red",
    "refused": "red",
    "failed": "red",
    "fail": "red",
}


def console(error: bool = False) -> Console:
    """A console for stdout (or stderr): no colour and no cut at 80 columns when it is not a terminal."""
    from rich.console import Console

    stream = sys.stderr if error else sys.stdout
    width = None if stream.isatty() else int(os.environ.get("COLUMNS") or _PIPED_WIDTH)
    return Console(file=stream, width=width, highlight=False, soft_wrap=False)


def as_json(data: Any) -> None:
    """Prints `data` as indented JSON; moments and paths become text."""
    print(json.dumps(data, indent=2, ensure_ascii=False, default=str))


def plain(text: str) -> None:
    """One line as it is, for other programs: not wrapped, not coloured."""
    print(text)


def problem(line: str) -> None:
    """One line on stderr."""
    print(line, file=sys.stderr)


def hint(text: str) -> None:
    """What one would do next."""
    console().print(f"Next: {text}", style="dim", soft_wrap=True, markup=False)


def coloured(word: str | None) -> str:
    """The word in the colour of its meaning, as Rich markup; '-' for nothing."""
    if not word:
        return "[dim]-[/dim]"
    return f"[{_COLOURS[word]}]{word}[/]" if word in _COLOURS else escaped(word)


def escaped(value: object) -> str:
    """Text that Rich prints as it is, control characters made visible."""
    from rich.markup import escape

    text = "".join(char if char.isprintable() or char == "\n" else repr(char)[1:-1] for char in str(value))
    return escape(text)


def count(value: int | None) -> str:
    return "[dim]-[/dim]" if value is None else f"{value:,}"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[str] = (), title: str = "") -> None:
    """Prints rows of Rich markup; the columns in `right` hold numbers."""
    from rich import box
    from rich.table import Table

    numbers = set(right)
    grid = Table(box=box.SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False)
    for name in columns:
        grid.add_column(name, justify="right" if name in numbers else "left", overflow="fold")
    for row in rows:
        grid.add_row(*row)
    console().print(grid)


def paragraph(text: str, indent: int = 0) -> None:
    """Rich markup, in a terminal wrapped at words with later lines indented; one line where output is piped."""
    from rich.text import Text

    screen = console()
    if not screen.is_terminal:
        screen.print(text, soft_wrap=True)
        return
    for number, part in enumerate(Text.from_markup(text).wrap(screen, max(screen.width - indent, 20))):
        screen.print(Text(" " * (indent if number else 0)) + part)


def line(text: str) -> None:
    """One line of Rich markup on stdout, never wrapped."""
    console().print(text, soft_wrap=True)
