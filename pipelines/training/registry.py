"""A challenger's entry in MLflow and in the ledger. The ledger is the truth, MLflow the place to look.

A retry finds its own MLflow run by a tag and its own version by that run, so that nothing is registered twice. For the
same reason MLflow's client repeats nothing by itself: it would create a second run when the answer to the first was
lost. `_ask` repeats, and its call sites say why that is safe.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from sqlalchemy import make_url

from pipelines import databases
from pipelines.calls import Service, call
from pipelines.context import Context
from pipelines.errors import StorageError
from pipelines.failpoints import reach
from pipelines.models.model import Model
from pipelines.models.stored import model_address, read_stored, require_stored
from pipelines.serving.package import write_package
from pipelines.settings.pipeline import confidence_columns
from pipelines.training.dataset import Frozen
from pipelines.training.warm_start import told

if TYPE_CHECKING:
    from mlflow import MlflowClient

Answer = TypeVar("Answer")

RUN_KEY = "nightshift.run_key"
_MODEL_FOLDER = "model"
# MLflow refuses longer digests of data sets.
_MOST_DIGEST = 36
# And more metrics at once.
_MOST_METRICS = 1000
_BUSY_STATUS = {429, 500, 502, 503, 504}
# Without an answer MLflow's client says INTERNAL_ERROR, too.
_BUSY_CODES = {"INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED"}
_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_MODEL_CATALOG_URI": "",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_UV_AUTO_DETECT": "false",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}


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


def register(context: Context, frozen: Frozen, challenger: Challenger) -> int:
    """Registers the stored challenger in MLflow, ready to be served, and in the ledger; returns its version.

    Raises:
        StorageError: E-REG-DOWN when MLflow does not answer, E-REG-STORE when the stored files are not the fitted ones.
    """
    address, sha256 = model_address(context.name, challenger.sha256), challenger.sha256
    require_stored(context.home, address, sha256)
    with registry(context) as client, tempfile.TemporaryDirectory() as place:
        files = read_stored(context.home, address)
        packed = Path(place, _MODEL_FOLDER)
        certainty = confidence_columns(context.pipeline)
        package_sha256 = write_package(packed, challenger.model, files, sha256, challenger.record, certainty)
        # Looked up before it is made, each time.
        run_id = _ask(context, "opening the run", lambda: _run_of(client, context, frozen))
        # The same parameters, tags, metrics and files again leave the run as it is.
        _ask(context, "describing the run", lambda: _describe(client, run_id, context, frozen, challenger))
        _ask(context, "copying the model", lambda: client.log_artifacts(run_id, str(packed), _MODEL_FOLDER))
        reach("registry.after_upload")
        # Looked up before it is made, each time.
        mlflow_version = _ask(context, "registering the model", lambda: _version_of(client, context, run_id))
        reach("registry.after_create")
        version = context.ledger.record_model(
            context.name,
            run_id=_ledger_run(context, sha256),
            as_of=context.partition.end,
            mlflow_run_id=run_id,
            artifact_uri=address,
            artifact_sha256=sha256,
            record={**challenger.record, "mlflow_version": mlflow_version, "package_sha256": package_sha256},
        )
        marks = {"verified_sha256": sha256, "nightshift.version": str(version)}
        # Each sets a value that stays the same.
        _ask(context, "marking the model", lambda: _mark(client, context, run_id, mlflow_version, marks))
    return version


def _mark(client: MlflowClient, context: Context, run_id: str, mlflow_version: str, marks: Mapping[str, str]) -> None:
    for key, value in marks.items():
        client.set_model_version_tag(context.name, mlflow_version, key, value)
    set_alias(client, context, "challenger", mlflow_version)
    client.set_terminated(run_id, "FINISHED")


def annotate(context: Context, version: int, tags: Mapping[str, str], metrics: Mapping[str, float]) -> None:
    """Adds tags and metrics to the MLflow run of a version. What the ledger holds already stays when MLflow is away."""
    from mlflow.entities import Metric, RunTag

    run_id = context.ledger.model(context.name, version)["mlflow_run_id"]
    # With the time: of two values of one step MLflow shows the later, else the larger.
    now = int(time.time() * 1000)
    numbers = [Metric(_metric_name(key), float(one), now, 0) for key, one in metrics.items() if np.isfinite(one)]

    def log(client: MlflowClient) -> None:
        client.log_batch(run_id, tags=[RunTag(key, value[:5000]) for key, value in tags.items()])
        for start in range(0, len(numbers), _MOST_METRICS):
            client.log_batch(run_id, metrics=numbers[start : start + _MOST_METRICS])

    with registry(context) as client:
        # The same values of the same moment again are the same entries.
        _ask(context, "annotating the run", lambda: log(client))


def attach(context: Context, version: int, files: Mapping[str, bytes], folder: str | None = None) -> None:
    """Puts files beside the MLflow run of a version; a file of the same name is replaced."""
    run_id = context.ledger.model(context.name, version)["mlflow_run_id"]

    def log(client: MlflowClient) -> None:
        with tempfile.TemporaryDirectory() as place:
            for name, content in files.items():
                Path(place, name).write_bytes(content)
            client.log_artifacts(run_id, place, folder)

    with registry(context) as client:
        # The same files again leave the run as it is.
        _ask(context, "attaching files to the run", lambda: log(client))


def fetch_package(context: Context, version: int, folder: Path) -> Path:
    """Copies the MLflow model of a version into `folder`. Nothing of it is run: compare its digest first."""
    import mlflow

    mlflow_version = context.ledger.model(context.name, version)["record"]["mlflow_version"]

    def download(client: MlflowClient) -> None:
        uri = client.get_model_version_download_uri(context.name, mlflow_version)
        mlflow.artifacts.download_artifacts(uri, dst_path=str(folder), tracking_uri=context.home.mlflow_uri)

    folder.mkdir(parents=True, exist_ok=True)
    with registry(context) as client:
        # The same files again.
        _ask(context, "fetching the model", lambda: download(client))
    return next(path.parent for path in folder.rglob("MLmodel"))


def point_champion(context: Context, version: int) -> None:
    """Moves the alias 'champion' to a version of the ledger: a projection, repaired by maintenance if this fails."""
    mlflow_version = context.ledger.model(context.name, version)["record"]["mlflow_version"]
    with registry(context) as client:
        # The alias points to the same version afterwards.
        _ask(context, "moving the alias", lambda: set_alias(client, context, "champion", mlflow_version))


def champion_alias(context: Context) -> str | None:
    """The MLflow version that the alias 'champion' points to, or None."""
    from mlflow.exceptions import MlflowException

    with registry(context) as client:
        try:
            # Reads only.
            found = _ask(
                context, "reading the alias", lambda: client.get_model_version_by_alias(context.name, "champion")
            )
            return str(found.version)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise


@contextmanager
def registry(context: Context) -> Iterator[MlflowClient]:
    """A client of this home's MLflow; its own errors become E-REG-DOWN, worth another try."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    uri = context.home.mlflow_uri
    if uri.startswith("sqlite:///"):
        Path(uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from requests import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield MlflowClient(uri, uri)
    except StorageError:
        raise
    except (MlflowException, SQLAlchemyError, RequestException, ConnectionError, TimeoutError) as error:
        raise StorageError(
            "E-REG-DOWN",
            f"{context.name} MLflow",
            f"it did not do what was asked: {str(error)[:300]}",
            "The champion stays and the fitted model is kept; the task is retried.",
        ) from error
    except OSError as error:
        raise StorageError(
            "E-REG-STORE",
            f"{context.name} MLflow",
            f"the model could not be stored: {str(error)[:300]}",
            "The champion stays and the fitted model is kept; the task is retried.",
        ) from error


def is_passing(error: BaseException) -> bool:
    """Whether the same request may succeed soon: no answer, a server in trouble, or its database busy."""
    from mlflow.exceptions import MlflowException
    from requests import ConnectionError, HTTPError, Timeout

    if isinstance(error, HTTPError):
        return error.response is not None and error.response.status_code in _BUSY_STATUS
    if isinstance(error, MlflowException):
        return error.error_code in _BUSY_CODES
    return isinstance(error, ConnectionError | Timeout) or databases.is_passing(error)


MLFLOW = Service("mlflow", "E-REG-DOWN", "MLflow", is_passing, seconds=120.0)


def _ask(context: Context, action: str, work: Callable[[], Answer]) -> Answer:
    """The answer of `work`, repeated while MLflow is away: doing it twice must leave the same."""
    return call(MLFLOW, databases.place(make_url(context.home.mlflow_uri)), f"{action} of {context.name}", work)


def set_alias(client: MlflowClient, context: Context, alias: str, mlflow_version: str) -> None:
    """Sets an alias; two processes creating it at once is the one race that MLflow does not retry itself."""
    from mlflow.exceptions import MlflowException

    try:
        client.set_registered_model_alias(context.name, alias, mlflow_version)
    except MlflowException:
        client.set_registered_model_alias(context.name, alias, mlflow_version)


def _run_of(client: MlflowClient, context: Context, frozen: Frozen) -> str:
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


def _describe(client: MlflowClient, run_id: str, context: Context, frozen: Frozen, challenger: Challenger) -> None:
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


def _metric_name(name: str) -> str:
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


def _version_of(client: MlflowClient, context: Context, run_id: str) -> str:
    """The registered version of this run, made when it does not exist yet."""
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(context.name, description=context.pipeline.description)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    known = client.search_model_versions(f"name = '{context.name}' and run_id = '{run_id}'")
    if known:
        return str(known[0].version)
    source = f"{client.get_run(run_id).info.artifact_uri}/{_MODEL_FOLDER}"
    return str(client.create_model_version(context.name, source=source, run_id=run_id).version)


def _ledger_run(context: Context, sha256: str) -> str:
    """What the ledger tells this model's retries by: the run, and the files when the run made another model before.

    A version never changes its files: it may have been judged, promoted and used.
    """
    known = {row["run_id"]: row["artifact_sha256"] for row in context.ledger.models(context.name)}
    is_own = known.get(context.run_id, sha256) == sha256
    return context.run_id if is_own else f"{context.run_id}#{sha256[:16]}"
