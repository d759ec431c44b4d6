"""A challenger's entry in MLflow and in the ledger. The ledger is the truth, MLflow the place to look.

A retry finds its own MLflow run by a tag and its own version by that run, so that nothing is registered twice.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipelines.context import Context
from pipelines.failpoints import reach
from pipelines.models.stored import model_address, read_stored, require_stored
from pipelines.serving.package import write_package
from pipelines.settings.pipeline import confidence_columns
from pipelines.training.dataset import Frozen
from pipelines.training.mlflow_client import ask, registry
from pipelines.training.registry_run import Challenger, describe, metric_name, run_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

_MODEL_FOLDER = "model"
# MLflow refuses more metrics at once.
_MOST_METRICS = 1000


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
        run_id = ask(context, "opening the run", lambda: run_of(client, context, frozen))
        # The same parameters, tags, metrics and files again leave the run as it is.
        ask(context, "describing the run", lambda: describe(client, run_id, context, frozen, challenger))
        ask(context, "copying the model", lambda: client.log_artifacts(run_id, str(packed), _MODEL_FOLDER))
        reach("registry.after_upload")
        # Looked up before it is made, each time.
        mlflow_version = ask(context, "registering the model", lambda: _version_of(client, context, run_id))
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
        ask(context, "marking the model", lambda: _mark(client, context, run_id, mlflow_version, marks))
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
    numbers = [Metric(metric_name(key), float(one), now, 0) for key, one in metrics.items() if np.isfinite(one)]

    def log(client: MlflowClient) -> None:
        client.log_batch(run_id, tags=[RunTag(key, value[:5000]) for key, value in tags.items()])
        for start in range(0, len(numbers), _MOST_METRICS):
            client.log_batch(run_id, metrics=numbers[start : start + _MOST_METRICS])

    with registry(context) as client:
        # The same values of the same moment again are the same entries.
        ask(context, "annotating the run", lambda: log(client))


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
        ask(context, "attaching files to the run", lambda: log(client))


def fetch_package(context: Context, version: int, folder: Path) -> Path:
    """Copies the MLflow model of a version into `folder`. Nothing of it is run: compare its digest first.

    Without the bytecode that a server which served it from the store left beside the code.
    """
    import mlflow

    mlflow_version = context.ledger.model(context.name, version)["record"]["mlflow_version"]

    def download(client: MlflowClient) -> None:
        uri = client.get_model_version_download_uri(context.name, mlflow_version)
        mlflow.artifacts.download_artifacts(uri, dst_path=str(folder), tracking_uri=context.home.mlflow_uri)

    folder.mkdir(parents=True, exist_ok=True)
    with registry(context) as client:
        # The same files again.
        ask(context, "fetching the model", lambda: download(client))
    for compiled in list(folder.rglob("__pycache__")):
        shutil.rmtree(compiled)
    return next(path.parent for path in folder.rglob("MLmodel"))


def point_champion(context: Context, version: int) -> None:
    """Moves the alias 'champion' to a version of the ledger: a projection, repaired by maintenance if this fails."""
    mlflow_version = context.ledger.model(context.name, version)["record"]["mlflow_version"]
    with registry(context) as client:
        # The alias points to the same version afterwards.
        ask(context, "moving the alias", lambda: set_alias(client, context, "champion", mlflow_version))


def champion_alias(context: Context) -> str | None:
    """The MLflow version that the alias 'champion' points to, or None."""
    from mlflow.exceptions import MlflowException

    with registry(context) as client:
        try:
            # Reads only.
            found = ask(
                context, "reading the alias", lambda: client.get_model_version_by_alias(context.name, "champion")
            )
            return str(found.version)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise


def set_alias(client: MlflowClient, context: Context, alias: str, mlflow_version: str) -> None:
    """Sets an alias; two processes creating it at once is the one race that MLflow does not retry itself."""
    from mlflow.exceptions import MlflowException

    try:
        client.set_registered_model_alias(context.name, alias, mlflow_version)
    except MlflowException:
        client.set_registered_model_alias(context.name, alias, mlflow_version)


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
