"""What consumers read: the files of the releases that are current now."""

from __future__ import annotations

from pipelines.context import Context
from pipelines.storage.exports import Current


def current_exports(context: Context, partition: str | None = None) -> list[Current]:
    """One entry per partition that readers see (or only for `partition`), in order.

    Which partitions there are comes from the ledger, what is current from each partition's pointer: no listing.
    """
    known = sorted({row["partition"] for row in context.ledger.releases(context.name, partition)})
    found = [context.exports.current_files(key) for key in known]
    return [current for current in found if current]
