"""The command about the morning report."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli import show
from pipelines.cli.app import AS_JSON, app, used_home
from pipelines.errors import ConfigError, quote


@app.command(rich_help_panel="See")
def report(
    context: typer.Context,
    partition: Annotated[
        str | None, typer.Option("--partition", metavar="D", help="The night, e.g. 2026-03-02; default: the newest.")
    ] = None,
    is_opened: Annotated[bool, typer.Option("--open", help="Open it in the browser of this machine.")] = False,
    json: AS_JSON = False,
) -> None:
    """Write the morning report of all pipelines, one HTML file that can be mailed, and print where it lies."""
    from pipelines.report.morning import write_morning
    from pipelines.report.morning_facts import morning_facts, night_of

    home = used_home(context)
    night = night_of(partition) if partition else None
    facts = morning_facts(home, night)
    shown = {night_of(row["partition"]) for one in facts["pipelines"] for row in one["partitions"]}
    if night is not None and night not in shown:
        advice = f"The newest until then: {max(shown)}." if shown else ""
        raise ConfigError("E-RUN-PARTITION", "report", f"no pipeline has a partition {quote(partition)}", advice)
    address = write_morning(home, night)
    show.as_json(facts) if json else show.plain(address)
    if is_opened:
        _open(address)


def _open(address: str) -> None:
    """Raises ConfigError for a report that lies in a bucket: a browser cannot read it there."""
    from pathlib import Path

    if "://" in address:
        raise ConfigError(
            "E-REPORT-OPEN", address, "a browser cannot read a bucket", "Fetch the file, or open Nightshift in Airflow."
        )
    typer.launch(Path(address).as_uri())
