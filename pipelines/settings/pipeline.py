"""The one file of a pipeline, `config/pipelines/<name>.yaml`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveInt, model_validator

from pipelines.errors import ConfigError
from pipelines.partitions import Grain, Partition, parse_partition, partition_at
from pipelines.settings.base import Name, Settings, Share
from pipelines.settings.dealt import dealt_problems
from pipelines.settings.features import FeatureGroup, Features
from pipelines.settings.gate import Gate, gate_problems
from pipelines.settings.monitor import Monitor
from pipelines.settings.notify import Notify
from pipelines.settings.source import Dimension, LabelSource, Source
from pipelines.settings.tasks import CLASS_TASKS, UNLABELLED_TASKS
from pipelines.settings.training import Label, LabelRules, Retrain, Training
from pipelines.settings.validation import Validate


def _known_zone(zone: str) -> str:
    if zone not in available_timezones():
        raise ValueError(f"'timezone' must be an IANA name like 'Europe/Berlin', got '{zone}'")
    return zone


class Deduplicate(Settings):
    """Exact duplicates always; with a key, the row that comes last in `latest_by` wins, ties broken by row id."""

    by_key: bool = True
    latest_by: tuple[Name, ...] = Field((), description="columns, most important first; none: the first row wins")
    lookback_partitions: NonNegativeInt = Field(0, description="earlier partitions whose keys also count")


class Score(Settings):
    shards: Annotated[PositiveInt, Field(le=1024)] = 1
    batch_rows: PositiveInt = 131_072
    model: Literal["as_of", "current"] = "as_of"


class Audit(Settings):
    """What scores must satisfy before a release."""

    max_refused_share: Share = 0.01
    max_shift: float = Field(0.5, description="PSI of scores against the last releases")
    history_partitions: PositiveInt = 7
    max_model_age_days: PositiveInt | None = None
    allow_constant: bool = False


class Export(Settings):
    columns: tuple[Name, ...] = Field((), description="columns of the clean table to carry beside key and score")
    compression: Literal["zstd", "snappy", "none"] = "zstd"
    confidence: bool = Field(
        False,
        description="also `confidence` of classes, with `training.intervals` `prediction_set`; of a regression "
        "`prediction_low` and `prediction_high`",
    )


class Card(Settings):
    """What the model card says and no run can know. What is left out is shown as missing, never invented."""

    intended_use: str | None = Field(None, description="who decides what with the scores, and what they are not for")
    limits: tuple[str, ...] = Field((), description="what the model does not know or must not be trusted with")
    contact: str | None = Field(None, description="whom to ask about the model: a person, an address or a channel")


class Resources(Settings):
    """What one step may use. Keys that a step leaves out come from `default`, then from the environment."""

    queue: str = "default"
    pool: str = "default_pool"
    pool_slots: PositiveInt = 1
    executor: str | None = None
    cpus: PositiveInt = 2
    memory_gib: float = Field(
        4.0, gt=0, description="a step that takes more is stopped; the engine spills at 60 % of it"
    )
    device: Literal["cpu", "cuda", "auto"] = "cpu"
    allow_cpu: bool = False
    time_limit_minutes: float | None = Field(None, gt=0)
    retries: NonNegativeInt = Field(2, le=100)
    retry_delay_seconds: PositiveInt = 10
    max_retry_delay_seconds: PositiveInt = 600


STEPS = [
    "ingest",
    "validate",
    "deduplicate",
    "build_features",
    "score",
    "audit",
    "release",
    "monitor",
    "shadow",
    "snapshot",
    "tune",
    "train",
    "evaluate",
    "gate",
    "approve",
    "promote",
    "notify",
]


class Pipeline(Settings):
    """Everything that is known about one pipeline before anything runs."""

    name: Name
    owner: str
    description: str = ""
    partition: Grain = "day"
    timezone: Annotated[str, AfterValidator(_known_zone)] = "UTC"
    start: date = Field(description="the first partition that exists")
    end: date | None = Field(None, description="the last partition that will ever exist; none: the feed goes on")
    schedule: str | None = Field("0 2 * * *", description="cron of the daily DAG, in the pipeline's time zone")
    catchup: bool = False
    engine: Literal["duckdb"] = "duckdb"

    source: Source
    key: tuple[Name, ...] = Field((), description="business key; none: rows have no identity beyond their record")
    event_time: Name | None = Field(None, description="timestamp column; none for snapshots without time")
    dimensions: dict[Name, Dimension] = {}
    label_sources: dict[Name, LabelSource] = {}

    validate_: Validate = Field(Validate(), alias="validate")
    deduplicate: Deduplicate = Deduplicate()
    features: Features = Features()
    label: Label | None = None
    label_rules: LabelRules = LabelRules()
    training: Training | None = None
    gate: Gate = Gate()
    retrain: Retrain = Retrain()
    score: Score = Score()
    audit: Audit = Audit()
    export: Export = Export()
    monitor: Monitor = Monitor()
    card: Card = Card()
    # Left out where it is not set: the records of other pipelines stay as they were.
    notify: Notify | None = Field(
        None, exclude_if=lambda value: value is None, description="who is told what a night brought; none: nobody"
    )
    resources: dict[str, Resources] = Field({}, description="per step; 'default' for the rest")

    # Filled in by the loader: the shared groups that `features.groups` names, in that order.
    feature_groups: tuple[FeatureGroup, ...] = Field((), exclude=False)

    @model_validator(mode="after")
    def _columns_exist(self) -> Pipeline:
        problems = [*_unknown_columns(self), *_confidence_problems(self)]
        problems += _label_problems(self)
        problems += gate_problems(self.gate, self.training.task if self.training else None, self.label is not None)
        problems += [*_unknown_partitions(self), *dealt_problems(self)]
        if self.partition == "hour" and self.timezone != "UTC":
            problems.append("'partition: hour' needs 'timezone: UTC' (a local hour can happen twice)")
        if self.monitor.weekday_profile == "always" and self.partition != "day":
            problems.append(f"'monitor.weekday_profile: always' needs 'partition: day', got '{self.partition}'")
        if self.end and self.end < self.start:
            problems.append(f"'end' must not be before 'start', got {self.end} < {self.start}")
        problems += [f"'resources' has no step '{step}'" for step in self.resources if step not in (*STEPS, "default")]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def parse(self, key: str) -> Partition:
        """The partition named `key`, by this pipeline's grain and time zone."""
        return parse_partition(key, self.partition, self.timezone)

    def first_partition(self) -> Partition:
        from datetime import datetime

        start = datetime(self.start.year, self.start.month, self.start.day, tzinfo=ZoneInfo(self.timezone))
        return partition_at(start, self.partition, self.timezone)

    def resources_of(self, step: str) -> Resources:
        """The step's resources: what its own block leaves out comes from the block 'default', then from the class.

        A replay does what 'train' does, and takes as much.
        """
        step = "train" if step == "replay" else step
        return _merged(self.resources.get("default"), self.resources.get(step))

    def with_defaults(self, defaults: Mapping[str, Resources]) -> Pipeline:
        """This pipeline where an environment's `defaults` stand in for every key that its own file leaves out.

        The file wins key by key, its block 'default' over the environment's block of one step, too.
        """
        own = self.resources
        merged = {
            step: _merged(defaults.get("default"), defaults.get(step), own.get("default"), own.get(step))
            for step in ("default", *STEPS)
        }
        return self.model_copy(update={"resources": merged})

    def digest(self) -> str:
        """As of any settings, but without `resources`, `card` and `notify`: where a step runs, and words for people."""
        return Settings.digest(self.model_copy(update={"resources": {}, "card": Card(), "notify": None}))

    @property
    def suite(self) -> str:
        return self.validate_.suite or self.name


def _label_problems(pipeline: Pipeline) -> list[str]:
    training, label, gate = pipeline.training, pipeline.label, pipeline.gate
    if gate.shadow and (training is None or label is None):
        return ["'gate.shadow' needs 'training' and 'label': realised labels judge a challenger in shadow"]
    if training is None:
        return []
    if label is not None:
        if training.task == "segments":
            return ["'label' must be left out: task 'segments' finds its own"]
        own = ("min_agreement", "flagged_share", "max_flagged_share")
        return [f"'gate.{name}' is for models without labels" for name in own if getattr(gate, name) is not None]
    if training.task not in UNLABELLED_TASKS:
        return ["'training' needs 'label'"]
    found = [f"'training.{name}' needs 'label'" for name in ("tuning", "metric") if getattr(training, name)]
    if training.task == "anomaly" and gate.floor is not None:
        found.append("'gate.floor' of task 'anomaly' needs 'label'")
    return found + (["'gate.slices' needs 'label'"] if gate.slices else [])


def _unknown_partitions(pipeline: Pipeline) -> list[str]:
    """A message for each partition that 'validate' names and that cannot be one of this pipeline."""
    found = []
    for key in pipeline.validate_.named_partitions:
        try:
            pipeline.parse(key)
        except ConfigError as error:
            found.append(f"'validate' names a partition: {error.what}")
    return found


def _merged(*blocks: Resources | None) -> Resources:
    """One block out of several, the later ones winning in the keys that they were given."""
    given = [block.model_dump(include=block.model_fields_set) for block in blocks if block]
    return Resources.model_validate({key: value for block in given for key, value in block.items()})


def _unknown_columns(pipeline: Pipeline) -> list[str]:
    """A message for each setting that names a column which the source does not declare."""
    declared = pipeline.source.columns
    mentions: list[tuple[str, tuple[str, ...]]] = [
        ("key", pipeline.key),
        ("event_time", (pipeline.event_time,) if pipeline.event_time else ()),
        ("deduplicate.latest_by", pipeline.deduplicate.latest_by),
        ("features.columns", pipeline.features.columns),
        ("export.columns", pipeline.export.columns),
    ]
    if pipeline.label and not pipeline.label.source:
        mentions.append(("label.column", (pipeline.label.column,)))
    found = [
        f"'{where}' names the unknown column '{column}'"
        for where, columns in mentions
        for column in columns
        if column not in declared
    ]
    if pipeline.event_time in declared and declared[pipeline.event_time].type not in ("timestamp", "date"):
        found.append(f"'event_time' must be a timestamp, got '{declared[pipeline.event_time].type}'")
    if pipeline.label and pipeline.label.source and pipeline.label.source not in pipeline.label_sources:
        found.append(f"'label.source' names the unknown label source '{pipeline.label.source}'")
    elif pipeline.label and pipeline.label.source:
        given = pipeline.label_sources[pipeline.label.source].column
        if pipeline.label.column != given:
            what = f"must be '{given}', which label source '{pipeline.label.source}' brings"
            found.append(f"'label.column' {what}, got '{pipeline.label.column}'")
    return found


def confidence_columns(pipeline: Pipeline) -> tuple[str, ...]:
    """Columns beside the score that say how sure it is; none unless `export.confidence` asks for them."""
    training = pipeline.training
    if not pipeline.export.confidence or training is None:
        return ()
    if training.task == "regression":
        return ("prediction_low", "prediction_high")
    return ("confidence", "prediction_set") if training.intervals else ("confidence",)


def _confidence_problems(pipeline: Pipeline) -> list[str]:
    if not pipeline.export.confidence:
        return []
    training, added = pipeline.training, confidence_columns(pipeline)
    if training is None:
        return ["'export.confidence' needs 'training'"]
    if training.task not in (*CLASS_TASKS, "regression"):
        return [f"'export.confidence' needs task 'regression', 'binary' or 'multiclass', got '{training.task}'"]
    if training.task == "regression" and training.intervals is None:
        return ["'export.confidence' of task 'regression' needs 'training.intervals'"]
    return [
        f"'{where}' must not name '{column}', which 'export.confidence' adds"
        for where, columns in (("key", pipeline.key), ("export.columns", pipeline.export.columns))
        for column in columns
        if column in added
    ]


_TEMPLATE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def variables_in(text: str) -> list[str]:
    """Names of the `${VARIABLE}` places in a path or URL."""
    return _TEMPLATE.findall(text)
