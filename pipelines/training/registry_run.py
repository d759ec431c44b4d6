"""The MLflow run of a challenger: found by a tag or made, and described with parameters, metrics, data and plots."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.context import Context
from pipelines.models.model import Model
from pipelines.training.dataset import Frozen
from pipelines.training.warm_start import told

if TYPE_CHECKING:
    from mlflow import MlflowClient

RUN_KEY = "nightshift.run_key"
# MLflow refuses longer digests of data sets.
_MOST_DIGEST = 36


@dataclass(frozen=True)
class Challenger:
    """A fitted model, with what is recorded of it. `pictures`: file name to PNG.

    `sha256` names its stored files, as they were first written: a tree that was loaded is written differently.
    """

    model: Model
    sha256: str
    record: Mapping[str, Any]
    metrics: Mapping[str, float]
    pictures: Mapping[str, bytes]


def run_of(client: MlflowClient, context: Context, frozen: Frozen) -> str:
    """The MLflow run of this run and snapshot, made when it does not exist yet.

    Of this snapshot: a run that is cleared after its data changed trains another model, and MLflow never changes a
    parameter.
    """
    experiment_id = experiment_of(client, context)
    key = f"{context.name}/{context.run_id}/{frozen.snapshot_id}"
    known = client.search_runs([experiment_id], f"tags.`{RUN_KEY}` = '{key}'", max_results=1)
    if known:
        return str(known[0].info.run_id)
    return str(client.create_run(experiment_id, tags={RUN_KEY: key}, run_name=f"{context.key}").info.run_id)


def experiment_of(client: MlflowClient, context: Context) -> str:
    """The id of the pipeline's experiment, made when it does not exist yet.

    A tracking server keeps the files itself; without one they lie below the home.
    """
    known = client.get_experiment_by_name(context.name)
    if known:
        return str(known.experiment_id)
    if context.home.mlflow_uri.startswith("http"):
        return str(client.create_experiment(context.name))
    folder = context.home.mlflow_artifacts / context.name
    folder.mkdir(parents=True, exist_ok=True)
    return str(client.create_experiment(context.name, artifact_location=folder.as_uri()))


def describe(client: MlflowClient, run_id: str, context: Context, frozen: Frozen, challenger: Challenger) -> None:
    from mlflow.entities import Metric, Param, RunTag

    record = challenger.record
    parameters = {
        "as_of": frozen.as_of,
        "estimator": record["estimator"],
        "seed": record["seed"],
        "device": record["device"],
        "training_partitions": f"{frozen.training_partitions[0]}..{frozen.training_partitions[-1]}",
        "holdout_partitions": f"{frozen.holdout_partitions[0]}..{frozen.holdout_partitions[-1]}",
        **{f"model.{name}": value for name, value in record["parameters"].items()},
    }
    tags = {
        "nightshift.pipeline": context.name,
        "nightshift.partition": context.key,
        "nightshift.snapshot_id": frozen.snapshot_id,
        "nightshift.config_digest": record["settings"]["pipeline"],
        "nightshift.code_version": record["code_version"],
        "nightshift.device": record["device"],
        **({"nightshift.warm_start": told(record["warm_start"])} if record.get("warm_start") else {}),
    }
    numbers = [Metric(name, float(value), 0, 0) for name, value in challenger.metrics.items() if np.isfinite(value)]
    client.log_batch(
        run_id,
        metrics=numbers,
        params=[Param(name, str(value)) for name, value in parameters.items()],
        tags=[RunTag(name, str(value)) for name, value in tags.items()],
    )
    client.log_inputs(run_id, _datasets(frozen))
    client.log_dict(run_id, dict(record), "record.json")
    with tempfile.TemporaryDirectory() as folder:
        for name, content in challenger.pictures.items():
            Path(folder, name).write_bytes(content)
        client.log_artifacts(run_id, folder, "plots")


def metric_name(name: str) -> str:
    """MLflow refuses other characters, and a slice's value may hold any."""
    return re.sub(r"[^\w\-. :/]", "_", name)


def _datasets(frozen: Frozen) -> list[Any]:
    """The Delta table versions that were read, as MLflow data set inputs."""
    from mlflow.data.delta_dataset_source import DeltaDatasetSource
    from mlflow.data.meta_dataset import MetaDataset
    from mlflow.entities import DatasetInput, InputTag

    inputs = []
    for table, facts in frozen.tables.items():
        source = DeltaDatasetSource(path=facts["uri"], delta_table_version=facts["version"])
        dataset = MetaDataset(  # type: ignore[abstract]
            source=source, name=table, digest=facts["contents"][:_MOST_DIGEST]
        )
        tags = [InputTag("mlflow.data.context", "training"), InputTag("partitions", str(facts["partitions"]))]
        inputs.append(DatasetInput(dataset=dataset._to_mlflow_entity(), tags=tags))
    return inputs
