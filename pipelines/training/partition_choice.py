"""Which partitions a training may use: accepted, built, with matured labels enough, and not excluded."""

from __future__ import annotations

from pipelines.context import Context
from pipelines.monitoring.label_shares import judgeable
from pipelines.monitoring.labels import matured
from pipelines.settings.training import Training


def labelled_partitions(context: Context, training: Training) -> tuple[list[str], str]:
    """The latest accepted partitions whose every label is due, oldest first, at most the window.

    Beside them, in words, those that are left out until more of their labels arrive (`label.min_share`).
    """
    accepted = {row["partition"] for row in context.ledger.accounting(context.name) if row["state"] == "clean"}
    built = context.ledger.publications(context.name, "features")
    usable = [
        row["partition"]
        for row in built
        if row["partition"] in accepted and row["partition"] <= context.key and row["row_count"]
    ]
    ripe = matured(context, usable) if context.pipeline.label else usable
    due = [key for key in ripe if key not in training.exclude_partitions]
    if context.pipeline.label is None or context.pipeline.label.min_share is None:
        return due[-training.window_partitions :], ""
    # Twice the window, so that partitions which wait are replaced by older ones.
    with context.engine("snapshot") as engine:
        found = judgeable(context, engine, due[-2 * training.window_partitions :])
    return found.partitions[-training.window_partitions :], found.sentence
