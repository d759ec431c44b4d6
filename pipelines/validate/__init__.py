"""Checks a partition against its contract; what breaks it goes to quarantine, with every reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.context import Context

__all__ = ["validate"]


def validate(context: Context) -> dict[str, Any]:
    """Runs the step; see `pipelines.validate.step`. Imports are inside, so that suites can be checked quickly."""
    from pipelines.validate.step import validate as work

    return work(context)
