"""Commands about configuration: list, check, schema."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from pipelines.cli import show
from pipelines.cli.app import AS_JSON, MISUSED, app, session

_PANEL = "Configuration"


@app.command("list", rich_help_panel=_PANEL)
def list_pipelines(context: typer.Context, json: AS_JSON = False) -> None:
    """List the pipelines of the configuration folder."""
    from pipelines.settings.loader import check_pipeline, pipeline_names

    config = session(context).home.config
    rows: list[dict[str, Any]] = []
    for name in pipeline_names(config):
        pipeline, problems = check_pipeline(name, config)
        facts = _facts(pipeline) if pipeline else {}
        rows.append({"name": name, **facts, "problems": len(problems)})
    if json:
        show.as_json(rows)
        return
    columns = ("name", "owner", "partition", "schedule", "retrain", "task", "description")
    show.table(
        columns,
        [
            [show.escaped(row.get(column) or "-") for column in columns]
            if not row["problems"]
            else [row["name"], *["-"] * 5, f"[red]{row['problems']} problem(s): nightshift check {row['name']}[/red]"]
            for row in rows
        ],
    )


def _facts(pipeline: Any) -> dict[str, Any]:
    return {
        "owner": pipeline.owner,
        "partition": pipeline.partition,
        "timezone": pipeline.timezone,
        "start": pipeline.start.isoformat(),
        "schedule": pipeline.schedule,
        "retrain": pipeline.retrain.schedule or "on drift",
        "task": pipeline.training.task if pipeline.training else None,
        "description": pipeline.description,
    }


@app.command(rich_help_panel=_PANEL)
def check(
    context: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Only these pipelines.")] = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Also build every expectation (imports Great Expectations).")
    ] = False,
    json: AS_JSON = False,
) -> None:
    """Check configuration files: every problem of every file, with its line. Exit code 2 if there is any."""
    from pipelines.cli.checking import check_all

    result = check_all(session(context).home.config, names or None, deep)
    if json:
        problems = [asdict(problem) for problem in result.problems]
        show.as_json({"ok": result.ok, "checked": result.checked, "problems": problems})
    else:
        for problem in result.problems:
            show.problem(str(problem))
        broken = {problem.file for problem in result.problems}
        if broken:
            show.problem(f"{len(result.problems)} problem(s) in {len(broken)} file(s). Nothing was run.")
        else:
            show.line(f"[green]ok[/green]  {', '.join(result.checked)}")
    if not result.ok:
        raise typer.Exit(MISUSED)


@app.command(rich_help_panel=_PANEL)
def schema(
    group: Annotated[bool, typer.Option("--group", help="Of a shared feature group instead of a pipeline.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="As a page to read: docs/configuration.md.")] = False,
    models: Annotated[bool, typer.Option("--models", help="The models instead, as a page: docs/models.md.")] = False,
) -> None:
    """Print the JSON schema of a pipeline file, for editors and other tools."""
    from pipelines.cli.schema_page import group_schema, page, pipeline_schema

    if models:
        from pipelines.models.estimator_page import models_page

        print(models_page(), end="")
        return
    if markdown:
        print(page(), end="")
        return
    show.as_json(group_schema() if group else pipeline_schema())
