"""The page of `nightshift explain`: the facts of one row, and what each feature added to its score."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.cli import show, state_page

_MOST_FEATURES = 10


def row_story(story: Mapping[str, Any]) -> None:
    """Every fact; of the contributions the largest, beside the values that made them (--json has all)."""
    for key, value in story.items():
        if key == "contributions" and value and "problem" not in value:
            _contributions(value, story.get("features") or {})
        else:
            state_page.sections({key: value})


def _contributions(found: Mapping[str, Any], features: Mapping[str, Any]) -> None:
    parts = list(found["features"].items())
    shown, rest = parts[:_MOST_FEATURES], [part for _, part in parts[_MOST_FEATURES:]]
    rows = [["[dim]where all rows begin[/dim]", "", f"{found['base']:+.4f}"]]
    rows += [[show.escaped(name), _value(features.get(name)), f"{part:+.4f}"] for name, part in shown]
    rows += [[f"[dim]{len(rest)} weaker features[/dim]", "", f"{sum(rest):+.4f}"]] if rest else []
    rows.append(["[bold]the row's raw score[/bold]", "", f"[bold]{found['total']:+.4f}[/bold]"])
    show.line(f"\n[bold]contributions[/bold]  to '{show.escaped(found['of'])}', in {show.escaped(found['scale'])}")
    show.table(["feature", "value", "adds"], rows, ["value", "adds"])


def _value(value: Any) -> str:
    if value is None:
        return "[dim]missing[/dim]"
    return f"{value:.6g}" if isinstance(value, float) else show.escaped(value)
