"""Pages of the reading commands, laid out for 100 columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.cli import show

State = Mapping[str, Any]
_MOST_COLUMNS = 5
_INDENT = 10  # of what is told of a partition, under its name


def overview(states: Sequence[State]) -> None:
    """One line per pipeline: champion, newest partition, how many of the newest ones stopped."""
    rows = []
    for state in states:
        newest = state["partitions"][0] if state["partitions"] else None
        stopped = [row for row in state["partitions"] if row["error"]]
        rows.append(
            [
                show.escaped(state["pipeline"]),
                f"v{state['champion']['version']}" if state["champion"] else "[dim]none[/dim]",
                show.count(state["count"]),
                newest["partition"] if newest else "[dim]-[/dim]",
                show.coloured(newest["state"]) if newest else "[dim]never run[/dim]",
                show.coloured(newest["drift"]) if newest else "[dim]-[/dim]",
                f"[red]{len(stopped)}[/red]" if stopped else "0",
            ]
        )
    show.table(
        ["pipeline", "champion", "partitions", "newest", "state", "drift", "stopped"], rows, ["partitions", "stopped"]
    )
    if states:
        chosen = next((state for state in states if state["partitions"]), states[0])
        show.hint(f"nightshift status {chosen['pipeline']}")


def one_pipeline(state: State) -> None:
    """The champion and why, then partitions (oldest first, as time goes), then what stopped and the newest gates."""
    show.line(f"[bold]{show.escaped(state['pipeline'])}[/bold]")
    _champion(state)
    if not state["partitions"]:
        show.hint(f"nightshift run {state['pipeline']} --from D --to D")
        return
    columns = ["partition", "state", "read", "clean", "quar.", "dupl.", "scored", "release", "model", "drift"]
    numbers = ["read", "clean", "quar.", "dupl.", "scored"]
    show.table(columns, [_cells(row) for row in reversed(state["partitions"])], numbers)
    _stopped(state["partitions"])
    _drift(state["partitions"])
    _decisions("gate", state["gates"])
    _decisions("shadow", state["shadows"])


def _champion(state: State) -> None:
    champion = state["champion"]
    if champion is None:
        show.line(f"champion  none yet: nothing is scored. nightshift retrain {show.escaped(state['pipeline'])}")
        return
    show.paragraph(
        f"champion  [green]v{champion['version']}[/green] since {champion['since'][:10]} "
        f"({champion['action']} by {show.escaped(champion['actor'])}): {show.escaped(champion['reason'])}",
        _INDENT,
    )
    if state["shadow"]:
        show.line(f"shadow    {show.escaped(state['shadow']['text'])}")


def _cells(row: State) -> list[str]:
    release = f"{row['release']} {row['release_number']}" if row["release"] else None
    model = f"v{row['model']}" if row["model"] else "[dim]-[/dim]"
    return [
        row["partition"] + (" [yellow]stale[/yellow]" if row.get("is_stale") else ""),
        show.coloured(row["state"]),
        *[show.count(row[name]) for name in ("read", "clean", "quarantined", "duplicate", "scored")],
        show.escaped(release) if release else "[dim]-[/dim]",
        model + (" [yellow]hindsight[/yellow]" if row["is_hindsight"] else ""),
        show.coloured(row["drift"]),
    ]


def _drift(partitions: Sequence[State]) -> None:
    """Why the monitor did not call the newest partition quiet that it has seen."""
    newest = next((row for row in partitions if row["drift"]), None)
    if newest and newest["drift"] in ("WATCH", "RETRAIN"):
        reasons = show.escaped(" ".join(newest["drift_reasons"]))
        show.paragraph(f"drift {newest['partition']}  {show.coloured(newest['drift'])}  {reasons}", _INDENT)


def _stopped(partitions: Sequence[State]) -> None:
    for row in reversed(partitions):
        if row["error"]:
            text = f"[red]{row['partition']}[/red] stopped at {row['step']}: {show.escaped(row['error'])}"
            show.paragraph(text, _INDENT)
        elif row.get("stale_reason"):
            show.line(f"[yellow]{row['partition']}[/yellow] is stale: {show.escaped(row['stale_reason'])}")


def _decisions(kind: str, rows: Sequence[State]) -> None:
    """The newest three."""
    for row in rows[:3]:
        version = f"v{row['version']} " if row["version"] else ""
        reasons = show.escaped("; ".join(row["reasons"]))
        text = f"{kind} {row['partition']}  {show.coloured(row['outcome'])}  {version}{reasons}"
        show.paragraph(text, _INDENT)


def sections(story: Mapping[str, Any]) -> None:
    """Nested facts as readable sections: a heading per block, one fact per line, lists of records as tables."""
    for key, value in story.items():
        title = key.replace("_", " ")
        if isinstance(value, Mapping):
            show.line(f"\n[bold]{title}[/bold]")
            _facts(value, "  ")
        elif _is_records(value):
            show.line(f"\n[bold]{title}[/bold]")
            _records(value)
        else:
            show.line(f"[bold]{title}[/bold]  {_text(value)}")


def _facts(facts: Mapping[str, Any], indent: str) -> None:
    width = max((len(str(key)) for key in facts), default=0)
    for key, value in facts.items():
        name = f"{indent}[dim]{show.escaped(str(key).ljust(width))}[/dim]"
        if isinstance(value, Mapping) and value:
            show.line(name)
            _facts(value, indent + "  ")
        else:
            show.line(f"{name}  {_text(value)}")


def _records(rows: Sequence[Mapping[str, Any]]) -> None:
    """Narrow records as a table; wide ones one after another, since a table of them cannot be read."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    if len(columns) <= _MOST_COLUMNS:
        show.table([name.replace("_", " ") for name in columns], [[_text(row.get(c)) for c in columns] for row in rows])
        return
    for number, row in enumerate(rows, start=1):
        if len(rows) > 1:
            show.line(f"  [dim]{number} of {len(rows)}[/dim]")
        _facts(row, "  ")


def _is_records(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, Mapping) for item in value)


def _text(value: Any) -> str:
    if value is None or value == [] or value == {}:
        return "[dim]-[/dim]"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return "; ".join(_text(item) for item in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{show.escaped(key)}={_text(item)}" for key, item in value.items())
    return show.escaped(value)
