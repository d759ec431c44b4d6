"""The command that writes rules from what was accepted so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.cli import show
from pipelines.cli.app import AS_JSON, NAME, app, used_home

if TYPE_CHECKING:
    from pipelines.home import Home
    from pipelines.settings.pipeline import Pipeline
    from pipelines.validate.anomaly import Past
    from pipelines.validate.suggest import Suggestions


@app.command(rich_help_panel="See")
def suggest(
    context: typer.Context,
    name: NAME,
    write: Annotated[bool, typer.Option("--write", help="Write them into the suite; else nothing is changed.")] = False,
    json: AS_JSON = False,
) -> None:
    """Suggest rules for the suite from the accepted history, each with its evidence, as a diff to review."""
    from pipelines.settings import load_pipeline
    from pipelines.validate import suggest as work

    home = used_home(context)
    pipeline = load_pipeline(name, home.config)
    path = home.expectations / f"{pipeline.suite}.json"
    text, existing = _existing(path, pipeline)
    required = [column for column, settings in pipeline.source.columns.items() if settings.required]
    measured = [column for column, settings in pipeline.source.columns.items() if settings.type == "number"]
    found = work.suggest(name, _history(home, pipeline), existing, required, measured)
    after = work.with_rules(text, pipeline.suite, [one.entry for one in found.kept]) if found.kept else text or ""
    if found.kept:
        work.prove(after, pipeline.suite, pipeline.source.columns)
    change = work.difference(text, after, f"expectations/{path.name}")
    if write and found.kept:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(after, encoding="utf-8")
    if json:
        show.as_json({"pipeline": name, **asdict(found), "diff": change, "written": write and bool(found.kept)})
        return
    _print(name, found, change, path, write)


def _existing(path: Path, pipeline: Pipeline) -> tuple[str | None, list[Mapping[str, Any]]]:
    """The suite's text and entries; raises ConfigError E-SUITE-* when it cannot be loaded."""
    import json

    from pipelines.validate.suites import load_suite

    if not path.exists():
        return None, []
    load_suite(path, pipeline.source.columns)
    text = path.read_text(encoding="utf-8")
    return text, json.loads(text)["expectations"]


def _history(home: Home, pipeline: Pipeline) -> list[Past]:
    """Profiles of the accepted partitions; those of nights before profiles were kept are made now."""
    from pipelines.context import Context
    from pipelines.ledger import Ledger
    from pipelines.validate.profiles import accepted_before

    ledger = Ledger(home.ledger_url)
    keys = [row["partition"] for row in ledger.accounting(pipeline.name) if row["state"] == "clean"]
    if not keys:
        return []
    after = pipeline.parse(keys[-1]).shift(1)
    return accepted_before(Context(pipeline, home, ledger, after, "cli__suggest"))


def _print(name: str, found: Suggestions, change: str, path: Path, written: bool) -> None:
    first, last, count = found.older
    since, until, later = found.later
    show.line(f"[bold]{show.escaped(name)}[/bold]: proposed on {count} accepted partitions, {first} to {last};")
    show.line(f"kept if quiet on the {later} after them, {since} to {until}.\n")
    if found.kept:
        show.table(
            ["rule", "evidence"], [[show.escaped(one.rule_id), show.escaped(one.evidence)] for one in found.kept]
        )
    for one in found.dropped:
        alarms = f"{one.broken} of {later} later partitions break it, {one.first} first"
        show.line(f"[dim]dropped {show.escaped(one.rule_id)}: {alarms} ({show.escaped(one.evidence)})[/dim]")
    kept, dropped, known = len(found.kept), len(found.dropped), len(found.known)
    show.line(f"\n{kept} suggested, {dropped} dropped as not quiet, {known} already in the suite.")
    if not found.kept:
        return
    if written:
        show.line(f"[green]written[/green] {show.escaped(path)}")
        show.hint("read each rule; make 'critical' what must refuse rows; git diff shows them")
        return
    show.plain(f"\n{change}")
    show.hint(f"nightshift suggest {name} --write")
