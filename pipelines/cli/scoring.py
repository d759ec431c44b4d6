"""The command about how ready for production a pipeline is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from pipelines.cli import show
from pipelines.cli.app import AS_JSON, NAME, app, used_home

_COLOURS = {0.0: "red", 0.5: "yellow", 1.0: "green"}


@app.command(rich_help_panel="See")
def scorecard(
    context: typer.Context,
    name: NAME,
    brief: Annotated[bool, typer.Option("--brief", help="Points only, without evidence.")] = False,
    json: AS_JSON = False,
) -> None:
    """Score the pipeline by the 28 tests of the ML Test Score (Breck et al., 2017), from what its runs recorded."""
    from pipelines.scorecard.card import scorecard as score_of

    found = score_of(used_home(context), name, datetime.now(UTC).date())
    show.as_json(found) if json else _page(found, brief)


def _page(found: Mapping[str, Any], brief: bool) -> None:
    sections = ", ".join(f"{name} {points:g}" for name, points in found["sections"].items())
    show.line(f"[bold]{show.escaped(found['pipeline'])}[/bold]  ML Test Score [bold]{found['score']:g}[/bold] of 7")
    show.paragraph(f"  {show.escaped(found['interpretation'])}", 2)
    show.paragraph(f"  the smallest of the sections: {sections}", 2)
    for section, points in found["sections"].items():
        show.line(f"\n[bold]{section}[/bold]  {points:g} of 7")
        for test in found["tests"]:
            if test["section"] == section:
                _test(test, brief)
    if found["next"]:
        cheapest = found["next"]
        show.line("")
        told = f"cheapest in the lowest section ({cheapest['effort']}, +{cheapest['gain']:g}): {cheapest['step']}"
        show.paragraph(f"[dim]Next: {show.escaped(told)}[/dim]", 6)


def _test(test: Mapping[str, Any], brief: bool) -> None:
    points = test["points"]
    show.line(f"  [{_COLOURS[points]}]{points:3g}[/]  {show.escaped(test['name'])}")
    if brief:
        return
    for sentence in test["evidence"]:
        show.paragraph(f"       {show.escaped(sentence)}", 7)
    if test["missing"]:
        show.paragraph(f"       [yellow]missing:[/yellow] {show.escaped(test['missing'])}", 7)
    if test["step"]:
        told = f"{test['step']} ({test['effort']}, +{test['gain']:g})"
        show.paragraph(f"       [dim]do:[/dim] {show.escaped(told)}", 7)
