"""A real stream of the repository in memory: labels, and the features of every day as the product builds them."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from pipelines.context import Context
from pipelines.features import build_features
from pipelines.home import REPOSITORY, Home
from pipelines.ingest.columns import table_schema
from pipelines.ledger import Ledger
from pipelines.settings import load_pipeline
from pipelines.settings.pipeline import Pipeline
from pipelines.settings.source import FileSource
from pipelines.storage.digests import table_digest
from pipelines.training.rows import TARGET


@dataclass(frozen=True)
class Stream:
    """`rows`: features, `target_value` and `partition` of all days, by time. `place`: first row and end of each day."""

    pipeline: Pipeline
    rows: pa.Table
    place: dict[str, tuple[int, int]]

    @property
    def days(self) -> list[str]:
        return list(self.place)

    def between(self, first: str, last: str) -> pa.Table:
        """The rows of all days from `first` to `last`, both included."""
        start, end = self.place[first][0], self.place[last][1]
        return self.rows.slice(start, end - start)

    def until(self, day: str) -> Stream:
        """The stream as if it had ended with this day."""
        place = {key: bounds for key, bounds in self.place.items() if key <= day}
        return replace(self, rows=self.rows.slice(0, place[day][1]), place=place)

    def labels(self, first: str, last: str) -> np.ndarray:
        return np.asarray(self.between(first, last)[TARGET].to_numpy(), dtype=np.float64)


def read_stream(name: str, data: Path) -> Stream:
    """The stream of a pipeline whose source is one file of comma-separated values below `data`.

    All rows are published as one partition: a feature looks back over time and not over partitions, so it is the same
    as that of the night's run, and the stream takes seconds.
    """
    os.environ["NIGHTSHIFT_DATA"] = str(data.absolute())
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder), REPOSITORY / "config")
        pipeline = load_pipeline(name, home.config)
        whole = _features(Context(pipeline, home, Ledger(home.ledger_url), pipeline.first_partition(), "decisions"))
    keys = np.asarray(whole["partition"].to_pylist())
    days, first = np.unique(keys, return_index=True)
    ends = [*first[1:].tolist(), len(keys)]
    return Stream(
        pipeline, whole, {str(day): (int(at), int(end)) for day, at, end in zip(days, first, ends, strict=True)}
    )


def _features(context: Context) -> pa.Table:
    """Features with the label as a number and the day as partition, by time as a training set has them."""
    label, moment = context.pipeline.label, context.pipeline.event_time
    if label is None or moment is None:
        raise ValueError(f"'{context.name}' must have a label and an event time")
    clean = _clean(context)
    context.publish("clean", context.snapshot("clean"), clean, table_digest(clean), {})
    counts = {"read": clean.num_rows, "clean": clean.num_rows, "quarantined": 0, "duplicate": 0, "reason": None}
    context.ledger.set_accounting(context.name, context.key, state="clean", run_id="decisions", **counts)
    build_features(context)
    features = context.snapshot("features").read([context.key]).sort_by("row_id")
    days = pc.strftime(features[moment], "%Y-%m-%d")
    features = features.set_column(features.schema.get_field_index("partition"), "partition", days)
    target = clean.sort_by("row_id")[label.column].cast(pa.float64())
    return features.append_column(TARGET, target).sort_by([(moment, "ascending"), ("row_id", "ascending")])


def _clean(context: Context) -> pa.Table:
    """The source's records with row ids, in the declared types; their times are those of the pipeline's zone, UTC."""
    wanted, source = table_schema(context.pipeline, "clean"), context.pipeline.source
    if not isinstance(source, FileSource):
        raise ValueError(f"'{context.name}' must read a file")
    naive = {name: _without_zone(wanted.field(name).type) for name in source.columns}
    table = csv.read_csv(os.path.expandvars(source.path), convert_options=csv.ConvertOptions(column_types=naive))
    system = {
        "row_id": pa.array([f"row:{number:09d}" for number in range(table.num_rows)]),
        "partition": pa.array([context.key] * table.num_rows),
    }
    found = {name: system[name] if name in system else table[name] for name in wanted.names}
    return pa.table({name: column.cast(wanted.field(name).type) for name, column in found.items()})


def _without_zone(kind: pa.DataType) -> pa.DataType:
    return pa.timestamp(kind.unit) if pa.types.is_timestamp(kind) else kind
