"""The MLflow model of a registered version: its own files, the code that answers, a signature, an example.

Nothing in it is pickled. What MLflow runs to load it is `mlflow_model.py` and a copy of the few modules it needs, so
that the place that serves needs MLflow and the model's library, but not this product.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.home import REPOSITORY
from pipelines.models.model import Model

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.models import ModelSignature

# What `pipelines.serving.served` imports, also late. A test loads every family from these alone.
_CODE = (
    *("__init__.py", "errors.py", "home.py", "partitions.py"),
    *("models", "settings"),
    *("storage/__init__.py", "storage/durable.py", "storage/files.py"),
    *("serving/__init__.py", "serving/served.py"),
)
_ENTRY = "mlflow_model.py"
_ALWAYS = ("mlflow", "numpy", "pandas", "pyarrow", "pydantic", "PyYAML", "safetensors", "threadpoolctl")
# By the ending of a model's files. One of the two packages of XGBoost is installed.
_LIBRARIES = {
    ".skops": ("scikit-learn", "scipy", "skops"),
    ".ubj": ("xgboost", "xgboost-cpu"),
    ".safetensors": ("torch",),
}
_EXAMPLE_ROWS = 3
# What MLflow writes about the machine that packed the model; all else is the same wherever it is packed.
_OF_THE_MACHINE = ("conda.yaml", "python_env.yaml", "requirements.txt")


def write_package(
    folder: Path,
    model: Model,
    files: Mapping[str, bytes],
    sha256: str,
    record: Mapping[str, Any],
    certainty: Sequence[str] = (),
) -> str:
    """Writes the MLflow model of the stored `files` into the empty `folder`. Returns its digest, see `package_sha256`.

    `record` is what the ledger keeps of the version: its sample gives the example. `certainty` are the columns beside
    the score that the pipeline's releases have now.
    """
    import mlflow
    from mlflow.models import Model as Description

    logging.getLogger("mlflow.pyfunc").setLevel(logging.WARNING)  # else it reports each step of its own
    staged = folder.with_name(f"{folder.name}.parts")
    native, code = staged / "model", staged / "pipelines"
    native.mkdir(parents=True)
    for name, content in files.items():
        (native / name).write_bytes(content)
    _copy_code(code)
    # With these values two packages of one model are the same.
    description = Description(model_uuid=sha256[:32], utc_time_created="1970-01-01 00:00:00")
    mlflow.pyfunc.save_model(
        folder,
        python_model=str(REPOSITORY / "pipelines" / "serving" / _ENTRY),
        artifacts={"model": str(native)},
        code_paths=[str(code)],
        model_config={"sha256": sha256, "certainty": list(certainty)},
        signature=signature(model, certainty),
        input_example=example(model, record["sample"]),
        pip_requirements=requirements(files),
        mlflow_model=description,
        metadata={"nightshift.sha256": sha256, "nightshift.family": model.family, "nightshift.task": model.task},
    )
    _forget_this_machine(description, folder)
    shutil.rmtree(staged)
    return package_sha256(folder)


def package_sha256(folder: Path) -> str:
    """64 hex digits over the files of an MLflow model that are run or parsed when it is loaded."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        if name not in _OF_THE_MACHINE and name != "registered_model_meta":
            digest.update(f"{name}\x1f{hashlib.sha256(path.read_bytes()).hexdigest()}\x1e".encode())
    return digest.hexdigest()


def signature(model: Model, certainty: Sequence[str] = ()) -> ModelSignature:
    """Features by name, all of them required though a value may be null; what comes back."""
    import pyarrow as pa
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema, TensorSpec
    from mlflow.types.schema import Array

    from pipelines.serving.served import all_fields

    inputs: list[ColSpec | TensorSpec] = [
        ColSpec("double" if kind == "number" else "string", name) for name, kind in model.types.items()
    ]
    kinds = {pa.float64(): DataType.double, pa.string(): DataType.string}
    outputs: list[ColSpec | TensorSpec] = [
        ColSpec(kinds.get(kind) or Array(DataType.string), name, required=False)
        for name, kind in all_fields(model, certainty)
    ]
    return ModelSignature(Schema(inputs), Schema(outputs))


def example(model: Model, sample: Mapping[str, Any]) -> pd.DataFrame | None:
    """At most three rows of the recorded sample; None where the model refused them all."""
    import pandas as pd

    # As objects: MLflow would write the NaN of a column of numbers or texts into a file of JSON.
    rows = {name: pd.Series(sample["values"][name][:_EXAMPLE_ROWS], dtype=object) for name in model.types}
    frame = pd.DataFrame(rows)
    return frame if len(frame) else None


def requirements(files: Mapping[str, bytes]) -> list[str]:
    """What must be installed to serve a model of these files, pinned to what is installed here."""
    endings = {Path(name).suffix for name in files}
    wanted = [*_ALWAYS, *(name for ending in sorted(endings & set(_LIBRARIES)) for name in _LIBRARIES[ending])]
    found = {name: _version(name) for name in wanted}
    return [f"{name}=={version}" for name, version in found.items() if version]


@lru_cache
def _version(name: str) -> str | None:
    """Without the local part: no index has '2.13.0+cpu'."""
    try:
        return metadata.version(name).partition("+")[0]
    except metadata.PackageNotFoundError:
        return None


def _copy_code(target: Path) -> None:
    for name in _CODE:
        source = REPOSITORY / "pipelines" / name
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, target / name)


def _forget_this_machine(description: Any, folder: Path) -> None:
    """Takes the paths out of the description in which the parts lay; MLflow looks into the folder for them."""
    flavor = description.flavors["python_function"]
    flavor["model_code_path"] = _ENTRY
    for one in flavor["artifacts"].values():
        one["uri"] = one["path"]
    description.save(str(folder / "MLmodel"))
