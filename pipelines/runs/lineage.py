"""What a step read and wrote, as datasets: where they lie, which version, how many rows, and a digest of the content.

Plain data from the ledger; plugins/nightshift_lineage.py turns it into OpenLineage's words. Only the partition of the
run is described: versions before it are in the events of their own runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipelines.home import Home
from pipelines.ledger import Ledger, Row

# step -> (tables that it reads, tables that it writes); a table of several writers is named with the writer.
TABLES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "ingest": ((), ("raw", "quarantine/ingest")),
    "validate": (("raw",), ("quarantine/validate",)),
    "deduplicate": (("raw", "quarantine/validate"), ("clean", "duplicates")),
    "build_features": (("clean",), ("features",)),
    "score": (("features",), ()),
    "release": (("features",), ("predictions",)),
    "monitor": (("features", "predictions"), ()),
    "snapshot": (("features",), ()),
}
_USES_MODEL = ("score", "audit", "evaluate", "gate", "promote")


@dataclass(frozen=True)
class Dataset:
    """One dataset. `uri` is a folder of a file system or `s3://...`; facts that are not known are left out."""

    uri: str
    version: str | None = None
    rows: int | None = None
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> tuple[str, str]:
        """Namespace and name by OpenLineage's naming rules (https://openlineage.io/docs/spec/naming)."""
        scheme, sign, rest = self.uri.partition("://")
        if not sign:
            return "file", self.uri
        host, _, path = rest.partition("/")
        return f"{scheme}://{host}", path


@dataclass(frozen=True)
class Lineage:
    inputs: tuple[Dataset, ...] = ()
    outputs: tuple[Dataset, ...] = ()


def lineage(home: Home, pipeline: str, partition: str, step: str, known: Mapping[str, Any]) -> Lineage:
    """What `step` read and wrote for this partition, as far as it came; `known` are its arguments and its summary."""
    ledger = Ledger(home.ledger_url)
    published = ledger.tables_of(pipeline, partition) if step in TABLES else {}
    read, written = TABLES.get(step, ((), ()))
    inputs = [_table(home, pipeline, published[table]) for table in read if table in published]
    outputs = [_table(home, pipeline, published[table]) for table in written if table in published]
    if step == "ingest":
        inputs += [_source(pipeline, row) for row in ledger.inputs(pipeline, partition)[-1:]]
    if step == "release":
        outputs += [_export(home, row) for row in ledger.releases(pipeline, partition) if row["state"] == "released"]
    version = known.get("version") or known.get("model_version")
    if version and step == "train":
        model = ledger.model(pipeline, int(version))
        inputs += [_snapshot_of(facts) for facts in model["record"].get("tables", {}).values()]
        outputs.append(_model(home, model))
    elif version and step in _USES_MODEL:
        inputs.append(_model(home, ledger.model(pipeline, int(version))))
    return Lineage(tuple(inputs), tuple(outputs))


def _table(home: Home, pipeline: str, row: Row) -> Dataset:
    facts = {"partition": row["partition"], "content_digest": row["content_digest"]}
    table = row["table_name"].partition("/")[0]
    return Dataset(home.table(pipeline, table), str(row["delta_version"]), row["row_count"], facts)


def _source(pipeline: str, row: Row) -> Dataset:
    """What was ingested, by its name alone: an address may hold what is nobody's business."""
    facts = {"partition": row["partition"], "content_digest": row["sha256"]}
    return Dataset(f"nightshift://{pipeline}/source/{row['source']}", row["sha256"][:16], row["records"], facts)


def _export(home: Home, row: Row) -> Dataset:
    facts = {"partition": row["partition"], "content_digest": row["digest"]}
    return Dataset(f"{home.storage}/exports/{row['pipeline']}", row["release_id"], row["row_count"], facts)


def _snapshot_of(facts: Mapping[str, Any]) -> Dataset:
    """A table at the version that a model learnt from."""
    return Dataset(facts["uri"], str(facts["version"]), None, {"content_digest": facts["contents"]})


def _model(home: Home, row: Row) -> Dataset:
    uri = f"{home.storage}/models/{row['pipeline']}"
    return Dataset(uri, str(row["version"]), None, {"content_digest": row["artifact_sha256"]})
