"""Tables of the ledger. Facts are appended; only `state` columns and heartbeats change."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Float, Index, Integer, MetaData, Table, Text, UniqueConstraint

from pipelines.ledger.types import Big, FreeText, Json, Key, UtcTime

SCHEMA_VERSION = 1
metadata = MetaData()

schema_version = Table("schema_version", metadata, Column("version", Integer, primary_key=True))

# One row per attempt of a step: what ran, for which partition, how it ended.
attempts = Table(
    "attempts",
    metadata,
    Column("id", Big, primary_key=True, autoincrement=True),
    Column("pipeline", Key, nullable=False),
    Column("partition", Key, nullable=False),
    Column("step", Key, nullable=False),
    Column("run_id", Key, nullable=False),
    Column("state", Key, nullable=False),  # running, done, unchanged, skipped, refused, failed
    Column("started_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime),
    Column("error", FreeText),
    Column("summary", Json),
    Column("code_version", Key),
    Column("peak_rss_mib", Integer),
    Index("ix_attempts_partition", "pipeline", "partition", "step"),
)

# One row per publication of one partition of one table.
publications = Table(
    "publications",
    metadata,
    Column("id", Big, primary_key=True, autoincrement=True),
    Column("pipeline", Key, nullable=False),
    Column("table_name", Key, nullable=False),
    Column("partition", Key, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("run_id", Key, nullable=False),
    Column("delta_version", Big, nullable=False),
    Column("input_digest", Key, nullable=False),
    Column("content_digest", Key, nullable=False),
    Column("row_count", Big, nullable=False),
    Column("facts", Json, nullable=False),
    Column("published_at", UtcTime, nullable=False),
    UniqueConstraint("pipeline", "table_name", "partition", "generation"),
)

# The current row accounting of a partition: read = clean + quarantined + duplicate, else the run failed.
accounting = Table(
    "accounting",
    metadata,
    Column("pipeline", Key, primary_key=True),
    Column("partition", Key, primary_key=True),
    Column("state", Key, nullable=False),  # clean, refused, absent
    Column("read", Big, nullable=False),
    Column("clean", Big, nullable=False),
    Column("quarantined", Big, nullable=False),
    Column("duplicate", Big, nullable=False),
    Column("reason", FreeText),
    Column("run_id", Key, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
)

# One row per distinct content that was ingested for a partition.
inputs = Table(
    "inputs",
    metadata,
    Column("id", Big, primary_key=True, autoincrement=True),
    Column("pipeline", Key, nullable=False),
    Column("partition", Key, nullable=False),
    Column("source", FreeText, nullable=False),
    Column("sha256", Key, nullable=False),
    Column("bytes", Big, nullable=False),
    Column("records", Big, nullable=False),
    Column("first_seen_at", UtcTime, nullable=False),
    UniqueConstraint("pipeline", "partition", "sha256"),
)

models = Table(
    "models",
    metadata,
    Column("pipeline", Key, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("run_id", Key, nullable=False),
    Column("as_of", UtcTime, nullable=False),
    Column("mlflow_run_id", Key),
    Column("artifact_uri", Text, nullable=False),
    Column("artifact_sha256", Key, nullable=False),
    Column("record", Json, nullable=False),  # training set, features, metrics, config digest, code version, seeds
    Column("created_at", UtcTime, nullable=False),
    UniqueConstraint("pipeline", "run_id"),
)

decisions = Table(
    "decisions",
    metadata,
    Column("id", Big, primary_key=True, autoincrement=True),
    Column("pipeline", Key, nullable=False),
    Column("kind", Key, nullable=False),  # gate, drift, audit, approval, shadow, drill
    Column("partition", Key, nullable=False),
    Column("run_id", Key, nullable=False),
    Column("outcome", Key, nullable=False),
    Column("model_version", Integer),
    Column("reasons", Json, nullable=False),
    Column("numbers", Json, nullable=False),
    Column("decided_at", UtcTime, nullable=False),
    Index("ix_decisions", "pipeline", "kind", "partition"),
)

# The champion is the row with the highest seq; a change inserts seq + 1, so only one of two racing changes wins.
champions = Table(
    "champions",
    metadata,
    Column("pipeline", Key, primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("effective_from", UtcTime, nullable=False),  # scores partitions that start then or later
    Column("action", Key, nullable=False),  # promote, rollback
    Column("reason", FreeText, nullable=False),
    Column("actor", Key, nullable=False),
    Column("run_id", Key, nullable=False),
    Column("decided_at", UtcTime, nullable=False),
)

releases = Table(
    "releases",
    metadata,
    Column("pipeline", Key, primary_key=True),
    Column("partition", Key, primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("release_id", Key, nullable=False),
    Column("model_version", Integer, nullable=False),
    Column("row_count", Big, nullable=False),
    Column("digest", Key, nullable=False),
    Column("path", Text, nullable=False),
    Column("state", Key, nullable=False),  # released, superseded, retracted
    Column("is_hindsight", Boolean, nullable=False),
    Column("reason", FreeText),
    Column("run_id", Key, nullable=False),
    Column("released_at", UtcTime, nullable=False),
)

# One row per message that a connection took. `topic` says what it was about; a second one of it is not sent.
notifications = Table(
    "notifications",
    metadata,
    Column("id", Big, primary_key=True, autoincrement=True),
    Column("pipeline", Key, nullable=False),
    Column("partition", Key, nullable=False),
    Column("topic", Key, nullable=False),
    Column("connection", Key, nullable=False),
    Column("title", FreeText, nullable=False),
    Column("run_id", Key, nullable=False),
    Column("sent_at", UtcTime, nullable=False),
    UniqueConstraint("pipeline", "partition", "topic", "connection"),
)

# One row per search for better parameters.
tuning_studies = Table(
    "tuning_studies",
    metadata,
    Column("study", Key, primary_key=True),
    Column("pipeline", Key, nullable=False),
    Column("snapshot_id", Key, nullable=False),
    Column("partition", Key, nullable=False),
    Column("metric", Key, nullable=False),
    Column("direction", Key, nullable=False),  # lower, higher
    Column("trials", Integer, nullable=False),
    Column("code_version", Key, nullable=False),
    Column("first", Json, nullable=False),  # parameters that are tried first: [{"origin", "parameters"}, ...]
    Column("settings", Json, nullable=False),
    Column("created_at", UtcTime, nullable=False),
)

# One row per trial of a search: who tries what, and how it ended.
tuning_trials = Table(
    "tuning_trials",
    metadata,
    Column("study", Key, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("state", Key, nullable=False),  # running, complete, pruned, failed
    Column("owner", Key, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("beat_at", UtcTime, nullable=False),
    Column("started_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime),
    Column("parameters", Json),
    Column("value", Float),
    Column("looks", Json),  # [[round or epoch, loss on the validation rows], ...] as far as the pruner looked
    Column("notes", Json),  # what the pruner keeps of the trial
    Column("reason", FreeText),
)
