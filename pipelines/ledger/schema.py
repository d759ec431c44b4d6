"""Tables of the ledger. Facts are appended; only `state` columns and heartbeats change."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

SCHEMA_VERSION = 1
metadata = MetaData()
_id = BigInteger().with_variant(Integer, "sqlite")

schema_version = Table("schema_version", metadata, Column("version", Integer, primary_key=True))

# One row per attempt of a step: what ran, for which partition, how it ended.
attempts = Table(
    "attempts",
    metadata,
    Column("id", _id, primary_key=True, autoincrement=True),
    Column("pipeline", String(64), nullable=False),
    Column("partition", String(32), nullable=False),
    Column("step", String(64), nullable=False),
    Column("run_id", String(255), nullable=False),
    Column("state", String(16), nullable=False),  # running, done, unchanged, skipped, refused, failed
    Column("started_at", DateTime(timezone=True), nullable=False),
    Column("ended_at", DateTime(timezone=True)),
    Column("error", Text),
    Column("summary", JSON),
    Column("code_version", String(64)),
    Column("peak_rss_mib", Integer),
    Index("ix_attempts_partition", "pipeline", "partition", "step"),
)

# One row per publication of one partition of one table.
publications = Table(
    "publications",
    metadata,
    Column("id", _id, primary_key=True, autoincrement=True),
    Column("pipeline", String(64), nullable=False),
    Column("table_name", String(64), nullable=False),
    Column("partition", String(32), nullable=False),
    Column("generation", Integer, nullable=False),
    Column("run_id", String(255), nullable=False),
    Column("delta_version", _id, nullable=False),
    Column("input_digest", String(64), nullable=False),
    Column("content_digest", String(64), nullable=False),
    Column("row_count", _id, nullable=False),
    Column("facts", JSON, nullable=False),
    Column("published_at", DateTime(timezone=True), nullable=False),
    UniqueConstraint("pipeline", "table_name", "partition", "generation"),
)

# The current row accounting of a partition: read = clean + quarantined + duplicate, else the run failed.
accounting = Table(
    "accounting",
    metadata,
    Column("pipeline", String(64), primary_key=True),
    Column("partition", String(32), primary_key=True),
    Column("state", String(16), nullable=False),  # clean, refused, absent
    Column("read", _id, nullable=False),
    Column("clean", _id, nullable=False),
    Column("quarantined", _id, nullable=False),
    Column("duplicate", _id, nullable=False),
    Column("reason", Text),
    Column("run_id", String(255), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
)

# One row per distinct content that was ingested for a partition.
inputs = Table(
    "inputs",
    metadata,
    Column("id", _id, primary_key=True, autoincrement=True),
    Column("pipeline", String(64), nullable=False),
    Column("partition", String(32), nullable=False),
    Column("source", Text, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("bytes", _id, nullable=False),
    Column("records", _id, nullable=False),
    Column("first_seen_at", DateTime(timezone=True), nullable=False),
    UniqueConstraint("pipeline", "partition", "sha256"),
)

models = Table(
    "models",
    metadata,
    Column("pipeline", String(64), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("run_id", String(255), nullable=False),
    Column("as_of", DateTime(timezone=True), nullable=False),
    Column("mlflow_run_id", String(64)),
    Column("artifact_uri", Text, nullable=False),
    Column("artifact_sha256", String(64), nullable=False),
    Column("record", JSON, nullable=False),  # training set, features, metrics, config digest, code version, seeds
    Column("created_at", DateTime(timezone=True), nullable=False),
    UniqueConstraint("pipeline", "run_id"),
)

decisions = Table(
    "decisions",
    metadata,
    Column("id", _id, primary_key=True, autoincrement=True),
    Column("pipeline", String(64), nullable=False),
    Column("kind", String(16), nullable=False),  # gate, drift, audit
    Column("partition", String(32), nullable=False),
    Column("run_id", String(255), nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("model_version", Integer),
    Column("reasons", JSON, nullable=False),
    Column("numbers", JSON, nullable=False),
    Column("decided_at", DateTime(timezone=True), nullable=False),
    Index("ix_decisions", "pipeline", "kind", "partition"),
)

# The champion is the row with the highest seq; a change inserts seq + 1, so only one of two racing changes wins.
champions = Table(
    "champions",
    metadata,
    Column("pipeline", String(64), primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("effective_from", DateTime(timezone=True), nullable=False),  # scores partitions that start then or later
    Column("action", String(16), nullable=False),  # promote, rollback
    Column("reason", Text, nullable=False),
    Column("actor", String(128), nullable=False),
    Column("run_id", String(255), nullable=False),
    Column("decided_at", DateTime(timezone=True), nullable=False),
)

releases = Table(
    "releases",
    metadata,
    Column("pipeline", String(64), primary_key=True),
    Column("partition", String(32), primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("release_id", String(64), nullable=False),
    Column("model_version", Integer, nullable=False),
    Column("row_count", _id, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("path", Text, nullable=False),
    Column("state", String(16), nullable=False),  # released, superseded, retracted
    Column("is_hindsight", Boolean, nullable=False),
    Column("reason", Text),
    Column("run_id", String(255), nullable=False),
    Column("released_at", DateTime(timezone=True), nullable=False),
)
