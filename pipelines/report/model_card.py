"""The card of one model version: what it is for, what made it, how good it is, why it scores so, what the gate said.

What is not known is shown as missing, never invented. The same facts give the same bytes.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipelines.context import Context
from pipelines.report.card_drawings import calibration, dependence, importance
from pipelines.report.card_facts import FOLDER, card_facts
from pipelines.report.figures import figure
from pipelines.storage.durable import canonical_json

# What Markdown takes for markup; an underscore within a word is none.
_MARKS = re.compile(r"[\\`*\[\]|#]|(?<!\w)_|_(?!\w)")


def write_card(context: Context, version: int) -> str:
    """Writes reports/<pipeline>/models/<version>.md, .html and .json, and the first two into MLflow.

    Returns where the page lies.

    Written whenever there is more to say: once the version is registered, evaluated, and judged.
    """
    from pipelines.training.registry import attach

    card = card_facts(context, version)
    files = {"card.md": markdown(card).encode(), "card.html": page(card).encode()}
    place = context.reports.at(FOLDER)
    # Staging is swept after some days; a card that is written again then still knows what was measured.
    place.write(f"{version}.json", canonical_json({name: card[name] for name in ("evaluation", "explanation")}))
    for name, content in files.items():
        place.write(name.replace("card", str(version)), content)
    attach(context, version, files, "model_card")
    return place.address(f"{version}.html")


def markdown(card: Mapping[str, Any]) -> str:
    """The card as Markdown; values from data never become markup."""
    return _templates(is_html=False).get_template("card.md.j2").render(card=card)


def page(card: Mapping[str, Any]) -> str:
    """The card as one HTML page without scripts or addresses on the network."""
    drawings = {"calibration": calibration(card), "importance": importance(card), "dependence": dependence(card)}
    return _templates(is_html=True).get_template("card.html.j2").render(card=card, drawings=drawings)


def _templates(is_html: bool) -> Environment:
    templates = Environment(
        loader=PackageLoader("pipelines.report"), autoescape=is_html, undefined=StrictUndefined, trim_blocks=True
    )
    templates.filters |= {"figure": figure, "cell": cell}
    return templates


def cell(value: Any) -> str:
    """Text that Markdown shows as it is, also inside a table."""
    # A '>' is markup at the beginning alone, where it makes a quotation.
    text = html.escape(str(value), quote=False).replace("\n", " ").replace("&gt;", ">")
    return ("\\" if text.startswith(">") else "") + _MARKS.sub(r"\\\g<0>", text)
