"""Features: what a model sees of a row, computed only from what was known before that row's moment.

`names` and `problems` follow from the settings alone and import no engine; `build` is the step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipelines.features.names import feature_names, feature_types
from pipelines.features.problems import feature_problems

if TYPE_CHECKING:
    from pipelines.context import Context

__all__ = ["build_features", "feature_names", "feature_problems", "feature_types"]


def build_features(context: Context) -> dict[str, Any]:
    """Publishes the partition's `features`; see `pipelines.features.build`."""
    from pipelines.features.build import build_features as work  # imports Ibis: the command line must not pay for it

    return work(context)
