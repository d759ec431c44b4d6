"""Retraining: snapshot -> tune -> train -> evaluate -> gate -> promote. Importing this stays light."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pipelines.context import Context

Summary = dict[str, Any]
Moment = Literal["recorded", "today"]


def snapshot(context: Context) -> Summary:
    """Freezes the training rows and the holdout; see `pipelines.training.dataset`."""
    from pipelines.training.dataset import snapshot as step

    return step(context)


def tune(context: Context, snapshot_id: str, worker: int = 0) -> Summary:
    """Looks for better parameters; see `pipelines.training.tuning`."""
    from pipelines.training.tuning import tune as step

    return step(context, snapshot_id, worker)


def train(context: Context, snapshot_id: str) -> Summary:
    """Fits and registers a challenger; see `pipelines.training.fit_step`."""
    from pipelines.training.fit_step import train as step

    return step(context, snapshot_id)


def evaluate(context: Context, snapshot_id: str, version: int) -> Summary:
    """Scores challenger, champion and baselines on the holdout; see `pipelines.training.evaluation`."""
    from pipelines.training.evaluation import evaluate as step

    return step(context, snapshot_id, version)


def gate(context: Context, snapshot_id: str, version: int) -> Summary:
    """Decides PROMOTE, HOLD or REJECT; see `pipelines.training.gating`."""
    from pipelines.training.gating import gate as step

    return step(context, snapshot_id, version)


def promote(context: Context, version: int, approved_by: str | None = None) -> Summary:
    """Makes the challenger champion, or begins its shadow; see `pipelines.training.promotion`."""
    from pipelines.training.promotion import promote as step

    return step(context, version, approved_by)


def shadow(context: Context) -> Summary:
    """Scores beside the champion, and judges when labels matured; see `pipelines.training.shadow_step`."""
    from pipelines.training.shadow_step import shadow as step

    return step(context)


def rollback(context: Context, version: int | None, actor: str, reason: str) -> Summary:
    """Puts an earlier champion back; see `pipelines.training.promotion`."""
    from pipelines.training.promotion import rollback as step

    return step(context, version, actor, reason)


def replay(context: Context, version: int, inputs: Moment = "recorded", settings: Moment = "recorded") -> Summary:
    """Rebuilds a version apart from everything and compares; see `pipelines.training.replaying`."""
    from pipelines.training.replaying import replay as step

    return step(context, version, inputs, settings)


__all__ = ["evaluate", "gate", "promote", "replay", "rollback", "shadow", "snapshot", "train", "tune"]
