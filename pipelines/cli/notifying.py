"""The command that shows what people are told: notify."""

from __future__ import annotations

import os
from typing import Annotated, Literal

import typer

from pipelines.cli import show
from pipelines.cli.app import NAME, app, used_home
from pipelines.cli.reading import PARTITION

_BASE_URL = "http://127.0.0.1:8080"  # of `nightshift up`; AIRFLOW__API__BASE_URL names another


@app.command(rich_help_panel="See")
def notify(
    context: typer.Context,
    name: NAME,
    partition: PARTITION,
    form: Annotated[
        Literal["text", "slack", "html", "json"], typer.Option("--as", help="How a connection would get it.")
    ] = "text",
    dry_run: Annotated[  # noqa: ARG001 - says aloud what the command does in any case
        bool, typer.Option("--dry-run", help="Print only. It is all that this command does.")
    ] = True,
) -> None:
    """Print the message of one night, as it was or would be sent; sending needs Airflow's connections and is its task.

    Who took which message already is said below it.
    """
    from pipelines.ledger import Ledger
    from pipelines.notify import reading, rendering
    from pipelines.settings import load_pipeline

    home = used_home(context)
    pipeline = load_pipeline(name, home.config)
    base_url = os.environ.get("AIRFLOW__API__BASE_URL", _BASE_URL)
    message = reading.night(home, pipeline, pipeline.parse(partition).key, base_url)
    if form in ("slack", "json"):
        show.as_json(rendering.as_slack(message) if form == "slack" else rendering.as_json(message))
        return
    if form == "html":
        show.line(show.escaped(rendering.as_html(message)))
        return
    show.line(show.escaped(rendering.as_text(message).rstrip()))
    sent = Ledger(home.ledger_url).notifications(name, message.partition)
    took = {row["connection"]: row["sent_at"] for row in sent if row["topic"] == message.topic}
    show.line("")
    if pipeline.notify is None:
        show.line("[dim]Nothing is sent: the pipeline's file has no 'notify'. See docs/notifications.md.[/dim]")
    for connection in pipeline.notify.to if pipeline.notify else ():
        at = took.get(connection)
        word = f"took it on {at:%Y-%m-%d %H:%M} UTC" if at else "did not take it yet"
        show.line(f"[dim]connection {show.escaped(connection)} {word}[/dim]")
