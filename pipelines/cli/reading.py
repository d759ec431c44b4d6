"""Commands that only read: status, explain, quarantine, exports, verify."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pipelines.cli import show
from pipelines.cli.app import AS_JSON, NAME, REFUSED, app, used_home

_PANEL = "See"
PARTITION = Annotated[str, typer.Option("--partition", metavar="D", help="The partition, e.g. 2026-03-02.")]


@app.command(rich_help_panel=_PANEL)
def status(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One pipeline; all when left out.")] = None,
    last: Annotated[int, typer.Option(min=1, metavar="N", help="Show this many partitions.")] = 30,
    json: AS_JSON = False,
) -> None:
    """Show what happened: rows, scores, releases, models and drift per partition, and why the champion is champion."""
    from pipelines.cli import state_page
    from pipelines.report.status import in_brief, pipelines_known
    from pipelines.report.status import status as state_of

    home = used_home(context)
    if name is None and json:
        show.as_json([state_of(home, known) for known in pipelines_known(home)])
        return
    if name is None:
        state_page.overview(in_brief(home, last))
        return
    require_known(home, name)
    state = state_of(home, name, last)
    show.as_json(state) if json else state_page.one_pipeline(state)


def require_known(home: Any, name: str) -> None:
    """Raises ConfigError when neither the configuration nor the ledger knows this pipeline."""
    from pipelines.report.status import pipelines_known
    from pipelines.settings.loader import require_pipeline

    if name not in pipelines_known(home):
        require_pipeline(name, home.config)


@app.command(rich_help_panel=_PANEL)
def explain(
    context: typer.Context,
    name: NAME,
    key: Annotated[str, typer.Option(metavar="K", help="The business key; several columns are joined by '|'.")],
    partition: PARTITION,
    json: AS_JSON = False,
) -> None:
    """Tell the story of one row: raw record, checks, features, score, model, files."""
    from pipelines.cli.story_page import row_story
    from pipelines.explain import explain as story_of
    from pipelines.runs.step import open_context

    home = used_home(context)
    story = story_of(open_context(name, partition, "cli__explain", home), key)
    show.as_json(story) if json else row_story(story)


@app.command(rich_help_panel=_PANEL)
def quarantine(
    context: typer.Context,
    name: NAME,
    partition: PARTITION,
    samples: Annotated[int, typer.Option(min=0, metavar="N", help="Rows to show per reason.")] = 3,
    show_values: Annotated[bool, typer.Option("--show-values", help="Show whole records, not 120 characters.")] = False,
    requeue: Annotated[
        bool, typer.Option("--requeue", help="After a fix: run the partition again with today's suite and settings.")
    ] = False,
    json: AS_JSON = False,
) -> None:
    """Show the refused rows of one partition, grouped by reason; --requeue gives them another chance."""
    from pipelines import quarantined
    from pipelines.cli import acting
    from pipelines.settings import load_pipeline

    home = used_home(context)
    day = load_pipeline(name, home.config).parse(partition)
    if requeue:
        acting.requeue(home, name, day.key, json)
        return
    found = quarantined.quarantine(home, name, day.key)
    if json:
        show.as_json(found)
        return
    show.line(f"[bold]{name} {day.key}[/bold]  {found['rows']:,} row(s) in quarantine")
    if found["rows"]:
        show.paragraph(f"[dim]{quarantined.how_values_are_shown(samples, show_values)}[/dim]")
    for reason in found["reasons"]:
        show.line(
            f"\n[red]{show.escaped(reason['code'])}[/red]  {reason['rows']:,} row(s), refused by {reason['stage']}: "
            f"{show.escaped(reason['example'])}"
        )
        for row in quarantined.samples(found["records"], reason["code"], reason["stage"], samples):
            place = f"{row['source_file']}:{row['source_line']}"
            text = quarantined.shortened(row["record"], show_values)
            show.line(f"  [dim]{show.escaped(place)}[/dim]  {show.escaped(text)}")
    if found["rows"]:
        again = f"nightshift quarantine {name} --partition {day.key} --requeue"
        show.hint(f"fix the file, the suite or the settings, then: {again}")


@app.command(rich_help_panel=_PANEL)
def exports(
    context: typer.Context,
    name: NAME,
    partition: Annotated[str | None, typer.Option("--partition", metavar="D", help="Only this partition.")] = None,
    json: AS_JSON = False,
) -> None:
    """List the Parquet files of the current releases, as paths or s3:// URLs for any reader."""
    from dataclasses import asdict

    from pipelines.exported import current_exports
    from pipelines.runs.step import open_context
    from pipelines.settings import load_pipeline

    home = used_home(context)
    pipeline = load_pipeline(name, home.config)
    day = pipeline.parse(partition) if partition else pipeline.first_partition()
    found = current_exports(open_context(name, day.key, "cli__exports", home), day.key if partition else None)
    files = [file for current in found for file in current.files]
    if json:
        show.as_json({"pipeline": name, "files": files, "partitions": [asdict(current) for current in found]})
        return
    for file in files:
        show.plain(file)


@app.command(rich_help_panel=_PANEL)
def verify(context: typer.Context, name: NAME, json: AS_JSON = False) -> None:
    """Recompute row balances and the digests of all releases. Exit code 1 when something is not as recorded."""
    from pipelines.runs.step import open_context
    from pipelines.settings import load_pipeline
    from pipelines.verify import verify as check

    home = used_home(context)
    first = load_pipeline(name, home.config).first_partition().key
    result = check(open_context(name, first, "cli__verify", home))
    problems = result["problems"]
    if json:
        show.as_json(result)
    else:
        for problem in problems:
            show.problem(f"E-DATA-HASH {name} {problem}")
        counts = ", ".join(
            f"{value:,} {key.replace('_', ' ')}" for key, value in result.items() if isinstance(value, int)
        )
        verdict = f"[red]{len(problems)} problem(s)[/red]" if problems else "[green]everything is as recorded[/green]"
        show.line(f"{counts}: {verdict}")
    if problems:
        raise typer.Exit(REFUSED)
