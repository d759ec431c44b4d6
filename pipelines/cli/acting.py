"""Commands that change what is in force: rollback, retract, requeue (in quarantine), maintenance."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pipelines.cli import show
from pipelines.cli.app import AS_JSON, NAME, REASON, REFUSED, app, used_home
from pipelines.home import Home

_PANEL = "Act"


def _actor() -> str:
    """The person at the keyboard, as the ledger names them."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def run_id(what: str) -> str:
    from datetime import UTC, datetime

    return f"cli__{what}__{datetime.now(UTC).isoformat(timespec='microseconds')}"


@app.command(rich_help_panel=_PANEL)
def rollback(
    context: typer.Context,
    name: NAME,
    reason: REASON,
    to: Annotated[
        int | None, typer.Option(min=1, metavar="V", help="Model version; the champion before when unset.")
    ] = None,
    json: AS_JSON = False,
) -> None:
    """Put an earlier champion back. Scores that are released already stay as they are."""
    from pipelines.runs.step import open_context, run_step
    from pipelines.runs.steps import latest_clean
    from pipelines.training import rollback as put_back

    home = used_home(context)
    run = open_context(name, latest_clean(name, home), run_id("rollback"), home)
    summary = run_step(run, "rollback", lambda given: put_back(given, to, _actor(), reason))
    _report(summary, json)
    if not json:
        show.hint(f"nightshift status {name}")


@app.command(rich_help_panel=_PANEL)
def retract(
    context: typer.Context,
    name: NAME,
    partition: Annotated[str, typer.Argument(metavar="D", help="The partition whose scores are taken back.")],
    reason: REASON,
    json: AS_JSON = False,
) -> None:
    """Take the released scores of one partition back; consumers see none until it is released again."""
    from pipelines.retract import retract as take_back
    from pipelines.runs.step import open_context, run_step

    home = used_home(context)
    run = open_context(name, partition, run_id("retract"), home)
    summary = run_step(run, "retract", lambda given: take_back(given, reason, _actor()))
    _report(summary, json)
    if not json:
        show.hint(
            f"correct the input, then nightshift run {name} --from {partition} --to {partition}  "
            "(the same scores stay retracted)"
        )


def _report(summary: dict[str, Any], json: bool) -> None:
    """What a step says about itself, one fact per line."""
    if json:
        show.as_json(summary)
        return
    for key, value in summary.items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else value
        show.line(f"[bold]{key.replace('_', ' ')}[/bold]  {show.escaped(text)}")


def requeue(home: Home, name: str, partition: str, json: bool) -> None:
    """Runs the partition again with today's settings and suite, and says how many rows came out of quarantine.

    Rows that validation refused are judged anew: `raw` still holds them. Rows that could not be parsed at ingest only
    move when the file or the source's settings changed.
    """
    from pipelines.cli.progress import Progress
    from pipelines.runs.local import run_days

    before = _counts(home, name, partition)
    with Progress(home, name, 1, quiet=json) as progress:
        events = run_days(home, name, [partition], on_event=progress.on_event)
    after = _counts(home, name, partition)
    moved = before["quarantined"] - after["quarantined"]
    result = {"partition": partition, "before": before, "after": after, "left_quarantine": moved}
    if json:
        show.as_json(result | {"state": events[-1]["state"]})
    else:
        word = "rows left quarantine" if moved >= 0 else "rows more are in quarantine"
        show.line(
            f"{abs(moved):,} {word}: {before['quarantined']:,} before, {after['quarantined']:,} now; "
            f"clean {before['clean']:,} -> {after['clean']:,}, "
            f"duplicate {before['duplicate']:,} -> {after['duplicate']:,}"
        )
        if not moved:
            show.hint("change the suite or the settings (validate), or the file (ingest), then requeue again")
    if any(event["state"] == "failed" for event in events):
        raise typer.Exit(REFUSED)


def _counts(home: Home, name: str, partition: str) -> dict[str, int]:
    from pipelines.ledger import Ledger

    rows = [row for row in Ledger(home.ledger_url).accounting(name) if row["partition"] == partition]
    names = ("read", "clean", "quarantined", "duplicate")
    return {key: int(rows[0][key]) if rows else 0 for key in names}


@app.command(rich_help_panel=_PANEL)
def maintenance(
    context: typer.Context,
    apply: Annotated[bool, typer.Option("--apply", help="Really do it; without, only say what would be done.")] = False,
    staging_days: Annotated[
        int, typer.Option(min=1, metavar="N", help="Remove unpublished work older than this.")
    ] = 14,
    study_days: Annotated[
        int, typer.Option(min=1, metavar="N", help="Remove searches for parameters older than this.")
    ] = 365,
    dead_after_hours: Annotated[
        int, typer.Option(min=1, metavar="H", help="End attempts that are 'running' for longer: they were killed.")
    ] = 24,
    drill_again: Annotated[
        bool, typer.Option("--drill-again", help="Repeat this month's rollback drill although it passed.")
    ] = False,
    json: AS_JSON = False,
) -> None:
    """Repair the registry's aliases, end dead attempts, remove leftovers, drill a rollback. A dry run unless --apply.

    The drill loads the previous champion and scores kept rows, once a month; a dry run does so, too, and only does not
    note the result. Exit code 1 when it fails.
    """
    from pipelines import maintenance as upkeep

    home = used_home(context)
    result: dict[str, Any] = {"applied": apply}
    if apply:
        result["aliases"] = upkeep.reconcile_aliases(home)
        result["dead_attempts_ended"] = upkeep.reap_attempts(dead_after_hours, home)
    result["leftovers"] = upkeep.sweep_staging(staging_days, dry_run=not apply, home=home)
    result["old_searches"] = upkeep.sweep_studies(study_days, dry_run=not apply, home=home)
    result["rollback_drill"] = upkeep.rollback_drill(home, drill_again, is_recorded=apply)
    show.as_json(result) if json else _maintained(result)
    upkeep.require_passed(result["rollback_drill"])


def _maintained(result: dict[str, Any]) -> None:
    apply = result["applied"]
    for pipeline, state in result.get("aliases", {}).items():
        show.line(f"[bold]{show.escaped(pipeline)}[/bold]  alias 'champion': {show.escaped(state)}")
    for pipeline, count in result.get("dead_attempts_ended", {}).items():
        show.line(f"[bold]{show.escaped(pipeline)}[/bold]  {count} dead attempt(s) ended")
    done = "removed" if apply else "would be removed"
    for pipeline, paths in result["leftovers"].items():
        show.line(f"[bold]{show.escaped(pipeline)}[/bold]  {len(paths)} leftover(s) {done}")
        for path in paths:
            show.line(f"  {show.escaped(path)}")
    for pipeline, studies in result["old_searches"].items():
        show.line(f"[bold]{show.escaped(pipeline)}[/bold]  {len(studies)} old search(es) {done}")
        for study in studies:
            show.line(f"  {show.escaped(study)}")
    for pipeline, text in result["rollback_drill"].items():
        show.line(f"[bold]{show.escaped(pipeline)}[/bold]  rollback drill: {show.escaped(text)}")
    if not apply:
        show.hint("nightshift maintenance --apply")
