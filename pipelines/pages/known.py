"""What all pages read from: one ledger per process, and the settings of pipelines as long as their files stay alike."""

from __future__ import annotations

from functools import cache

from pipelines.home import Home
from pipelines.ledger import Ledger
from pipelines.settings.kept import look_up
from pipelines.settings.pipeline import Pipeline


def ledger_of(home: Home) -> Ledger:
    """The home's ledger, opened once: to open one is to look whether its tables are there."""
    return _opened(home.ledger_url)


@cache
def _opened(url: str) -> Ledger:
    return Ledger(url)


def settings_of(home: Home, name: str) -> tuple[Pipeline | None, str]:
    """The pipeline's settings, or None and what is wrong with them; None and '' where only the ledger knows it."""
    if not (home.config / "pipelines" / f"{name}.yaml").is_file():
        return None, ""
    pipeline, error = look_up(name, home.config)
    return pipeline, str(error or "")
