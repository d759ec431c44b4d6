"""The ML Test Score of one pipeline, with its evidence."""

from __future__ import annotations

from datetime import UTC, datetime

from pipelines.home import Home
from pipelines.pages import addresses
from pipelines.pages.rendering import render
from pipelines.scorecard.card import scorecard


def page(home: Home, name: str) -> str:
    """Raises ConfigError when the pipeline's settings or the statements about it are wrong."""
    card = scorecard(home, name, datetime.now(UTC).date())
    return render("scorecard", way=[(name, addresses.pipeline(name))], card=card)
