"""The command about model cards."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli import show
from pipelines.cli.app import AS_JSON, NAME, app, used_home
from pipelines.errors import ModelError


@app.command(rich_help_panel="See")
def card(
    context: typer.Context,
    name: NAME,
    version: Annotated[
        int | None, typer.Argument(min=1, metavar="[VERSION]", help="The model version; default: the champion.")
    ] = None,
    json: AS_JSON = False,
) -> None:
    """Write the model card of a version again, with today's words of the pipeline's file, and print it as Markdown."""
    from pipelines.report.card_facts import card_facts
    from pipelines.report.model_card import markdown, write_card
    from pipelines.runs.step import open_context
    from pipelines.settings import load_pipeline

    home = used_home(context)
    first = load_pipeline(name, home.config).first_partition().key
    run = open_context(name, first, "cli__card", home)
    champion = run.ledger.champion(name)
    if version is None and champion is None:
        raise ModelError("E-CARD-NONE", name, "there is no champion yet", f"Name a version: nightshift card {name} 1")
    number = version or (champion or {})["version"]
    address = write_card(run, number)
    facts = card_facts(run, number)
    show.as_json(facts) if json else show.plain(markdown(facts))
    show.problem(f"as a page: {address}")
