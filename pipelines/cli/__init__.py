"""The command line: `nightshift`. Commands import what they need when they run, so that `--help` answers at once."""

from __future__ import annotations

from pipelines.cli import (
    acting,
    cards,
    configuration,
    doctor,
    experiments,
    notifying,
    reading,
    reporting,
    running,
    scoring,
    serving,
    starting,
    suggesting,
    versions,
)
from pipelines.cli.app import app

__all__ = [
    "acting",
    "app",
    "cards",
    "configuration",
    "doctor",
    "experiments",
    "main",
    "notifying",
    "reading",
    "reporting",
    "running",
    "scoring",
    "serving",
    "starting",
    "suggesting",
    "versions",
]


def main() -> None:
    """Runs one command and exits: 0 done, 1 the pipeline said no, 2 wrong use or configuration."""
    app()
