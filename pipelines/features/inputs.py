"""What one partition of features is made from, and the digest that says whether it must be made again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipelines.context import Context
from pipelines.errors import DataError, StorageError
from pipelines.features.functions import module_digest
from pipelines.features.names import feature_names, forward_fills, group_versions, groups_of, modules_of
from pipelines.history import feature_partitions
from pipelines.settings.features import JoinFeature
from pipelines.storage.digests import combined
from pipelines.storage.tables import Snapshot

# Raised when the same settings and rows would give other features, so that every partition is made again.
_ALGORITHM = "features/1"


@dataclass(frozen=True)
class Inputs:
    """Content digests of the clean partitions (null: nothing there) and of the dimension snapshots that are read."""

    partitions: list[str]
    clean: dict[str, str | None]
    clean_snapshot: Snapshot
    dimensions: dict[str, tuple[str, str]]  # dimension -> (partition of its snapshot, content digest)
    modules: dict[str, str]
    digest: str

    def facts(self, context: Context) -> dict[str, Any]:
        """What the ledger remembers of this publication."""
        tables: dict[str, dict[str, str | None]] = {"clean": self.clean}
        tables |= {f"dimension_{name}": {key: digest} for name, (key, digest) in self.dimensions.items()}
        return {
            "groups": group_versions(context.pipeline),
            "features": feature_names(context.pipeline),
            "lookback": self.partitions,
            "functions": self.modules,
            "inputs": tables,
            "clean_version": self.clean_snapshot.version,
            "stale": False,
        }


def gather_inputs(context: Context) -> Inputs:
    """The inputs of this partition, from the ledger.

    Raises:
        DataError: E-FEATURE-INPUT when the partition has no clean rows yet, E-FEATURE-DIMENSION when a dimension that
            must exist was never read.
        StorageError: E-STORE-MOVED when another run published an input in between; worth another try.
    """
    pipeline = context.pipeline
    partitions = feature_partitions(pipeline, context.partition)
    clean = _clean_digests(context, partitions)
    snapshot = context.snapshot("clean")
    if clean[context.key] is None or not snapshot.exists:
        raise DataError(
            "E-FEATURE-INPUT",
            context.where,
            "the clean rows of this partition must be published before its features are built",
            f"Run: nightshift run {context.name} --from {context.key} --to {context.key}",
        )
    if _clean_digests(context, partitions) != clean:
        raise StorageError("E-STORE-MOVED", context.where, "another run published clean rows meanwhile", "Try again.")
    dimensions = _dimensions(context)
    modules = {module: module_digest(context.home.config, module) for module in modules_of(pipeline)}
    digest = combined(
        _ALGORITHM, *_settings(context), sorted(clean.items()), sorted(dimensions.items()), sorted(modules.items())
    )
    return Inputs(partitions, clean, snapshot, dimensions, modules, digest)


def _clean_digests(context: Context, partitions: list[str]) -> dict[str, str | None]:
    found = context.content_digests("clean", partitions)
    return {key: found.get(key) for key in partitions}


def _dimensions(context: Context) -> dict[str, tuple[str, str]]:
    """The newest snapshot of each joined dimension that was read for this partition or an earlier one."""
    features = [feature for group in groups_of(context.pipeline) for feature in group.features]
    found = {}
    for name in sorted({feature.dimension for feature in features if isinstance(feature, JoinFeature)}):
        rows = context.ledger.publications(context.name, f"dimension_{name}")
        upto = [row for row in rows if row["partition"] <= context.key]
        if upto:
            found[name] = (upto[-1]["partition"], upto[-1]["content_digest"])
        elif context.pipeline.dimensions[name].source.missing == "fail":
            raise DataError(
                "E-FEATURE-DIMENSION",
                context.where,
                f"dimension '{name}' must have been read for this partition or an earlier one",
                "Run 'ingest' of this partition, or set 'missing: skip' on the dimension's source.",
            )
    return found


def _settings(context: Context) -> list[str]:
    """Everything in the settings that changes a feature."""
    pipeline = context.pipeline
    return [
        pipeline.features.digest(),
        *group_versions(pipeline).values(),
        pipeline.timezone,
        str(pipeline.key),
        str(pipeline.event_time),
        str(pipeline.label.column if pipeline.label else None),
        str(sorted(forward_fills(pipeline).items())),
        str([(name, column.type) for name, column in pipeline.source.columns.items()]),
        str([(name, item.key, item.valid_from) for name, item in sorted(pipeline.dimensions.items())]),
    ]
