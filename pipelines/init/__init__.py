"""From files to a pipeline: what a sample looks like, and the settings, rules and features that fit it."""

from __future__ import annotations

from pipelines.init.given import Given
from pipelines.init.plan import Outcome, plan
from pipelines.init.questions import Questions

__all__ = ["Given", "Outcome", "Questions", "plan"]
