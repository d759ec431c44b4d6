"""Commands about model versions: history, replay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import typer

from pipelines.cli import show
from pipelines.cli.app import AS_JSON, NAME, REFUSED, app, used_home

Moment = Literal["recorded", "today"]  # as pipelines.training has it, which brings pyarrow with it
_WHY = 7  # columns of indent
_COMPARED = ("rows", "config", "parameters", "metrics", "predictions", "artifact")


@app.command(rich_help_panel="See")
def history(context: typer.Context, name: NAME, json: AS_JSON = False) -> None:
    """Show every champion: since when, by whom, why, and whether a rollback would work."""
    from pipelines.champions import champion_history
    from pipelines.cli.reading import require_known
    from pipelines.ledger import Ledger

    home = used_home(context)
    require_known(home, name)
    found = champion_history(Ledger(home.ledger_url), name)
    if json:
        show.as_json(found)
        return
    if not found["changes"]:
        show.line("no champion yet")
        for row in found["approvals"]:
            _approval(row)
        show.hint(f"nightshift retrain {name}")
        return
    columns = ["", "version", "what", "scores from", "and before", "decided (UTC)", "by"]
    show.table(columns, [_change(row) for row in found["changes"]], ["", "version"], title=f"Champions of {name}")
    for row in found["changes"]:
        show.paragraph(f"[bold]{row['number']}  v{row['version']}[/bold]  {show.escaped(row['reason'])}", _WHY)
        if row["trigger"]:
            show.paragraph(f"{' ' * _WHY}[dim]asked for by {show.escaped(row['trigger'])}[/dim]", _WHY)
    for row in found["approvals"]:
        _approval(row)
    for row in found["shadows"]:
        told = show.escaped("; ".join(row["reasons"]))
        show.line(f"shadow {row['partition']}: v{row['version']} {show.coloured(row['outcome'])}  {told}")
    if drill := found["drill"]:
        reasons = show.escaped("; ".join(drill["reasons"]))
        word = f"[{'green' if drill['outcome'] == 'PASS' else 'red'}]{drill['outcome']}[/]"
        show.paragraph(f"rollback drill of {drill['month']}: v{drill['version']} {word}  {reasons}", _WHY)
    else:
        show.line("[dim]rollback drill: none yet; nightshift maintenance --apply does one[/dim]")


def _approval(row: Mapping[str, Any]) -> None:
    why = show.escaped("; ".join(row["reasons"]))
    asked = f" (asked because {show.escaped('; '.join(row['risks']))})" if row["risks"] else ""
    outcome = show.coloured(row["outcome"])
    show.paragraph(f"approval {row['partition']}: v{row['version']} {outcome}  {why}{asked}", _WHY)


def _change(row: Mapping[str, Any]) -> list[str]:
    return [
        str(row["number"]),
        f"v{row['version']}",
        row["action"],
        "[dim]no day[/dim]" if row["until"] == row["from"] else row["from"][:10],
        row["until"][:10] if row["until"] else "[green]now champion[/green]",
        row["decided_at"][:16].replace("T", " "),
        show.escaped(row["actor"]),
    ]


@app.command(rich_help_panel="See")
def replay(
    context: typer.Context,
    name: NAME,
    version: Annotated[int, typer.Argument(min=1, metavar="VERSION", help="The model version to rebuild.")],
    inputs: Annotated[
        Moment, typer.Option(help="Table versions: those it was trained on, or today's for the same date.")
    ] = "recorded",
    settings: Annotated[
        Moment, typer.Option(help="Settings: those it was trained with, or today's file.")
    ] = "recorded",
    json: AS_JSON = False,
) -> None:
    """Rebuild a version from its record and say what differs; nothing is registered. Exit code 1 when it differs."""
    from pipelines.cli.acting import run_id
    from pipelines.runs.step import open_context, run_step
    from pipelines.runs.steps import latest_clean
    from pipelines.training import replay as rebuild

    home = used_home(context)
    run = open_context(name, latest_clean(name, home), run_id("replay"), home)
    result = run_step(run, "replay", lambda given: rebuild(given, version, inputs, settings))
    show.as_json(result) if json else _page(name, result)
    if result["verdict"] != "equal":
        raise typer.Exit(REFUSED)


def _page(name: str, result: Mapping[str, Any]) -> None:
    verdict = f"[{'green' if result['verdict'] == 'equal' else 'red'}]{result['verdict']}[/]"
    how = f"inputs {result['inputs']}, settings {result['settings']}, {result['seconds']} s"
    show.line(f"[bold]{show.escaped(name)} v{result['version']}[/bold]  {verdict}  ({how})")
    show.line("  ".join(f"{word} {_coloured(result[word])}" for word in _COMPARED))
    titles = {
        "differences": "What differs",
        "surroundings": "What else is not as then" + ("" if result["verdict"] == "equal" else ", and may be why"),
        "since": "Changed since then, not used here",
    }
    for key, title in titles.items():
        if result[key]:
            show.line(f"\n[bold]{title}[/bold]")
            for line in result[key]:
                show.line(f"  {show.escaped(line)}")


def _coloured(word: str) -> str:
    return f"[{'green' if word == 'equal' else 'red'}]{word}[/]"
