"""A registered version behind `mlflow models serve`: the same files, code and answers as the batch scores.

It is loaded where this product is not installed, from the copy of these modules beside the model
(`pipelines.serving.package`): it must import nothing else.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PythonModel

from pipelines.errors import DataError, ModelError, NightshiftError, quote
from pipelines.models.answers import answer_arrays, answer_fields, is_answered, refusals
from pipelines.models.artifact import artifact_sha256, read_artifact
from pipelines.models.certainty import certainty_arrays, certainty_fields
from pipelines.models.model import Model

# Below this a whole number that JSON and pandas carried as a float is still the number that was sent.
_EXACT = 2**53
# An ordinary column of pandas has NaN where a row has no score, which is no JSON.
_NULLABLE = {pa.float64(): pd.Float64Dtype(), pa.string(): pd.StringDtype()}


class Served(PythonModel):
    """Loads the version's files, digest first, and answers a table of features with a table of scores."""

    def load_context(self, context: Any) -> None:
        """Raises ModelError E-MODEL-HASH when the files are not those that were registered."""
        self.model = open_checked(Path(context.artifacts["model"]), str(context.model_config["sha256"]))
        self.certainty = tuple(context.model_config["certainty"])

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:  # noqa: ARG002 (MLflow's signature)
        """One row per row: `score` and what else the batch publishes; null, with a `reason`, where there is none.

        Raises:
            MlflowException: the request cannot be answered; MLflow's server says so with status 400.
        """
        try:
            found = answer(self.model, feature_table(self.model, model_input), self.certainty)
            return found.to_pandas(types_mapper=_NULLABLE.get)
        except NightshiftError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error


def open_checked(folder: Path, sha256: str) -> Model:
    """The model in `folder`; nothing of it is parsed before its digest is the expected one."""
    files = read_artifact(folder)
    found = artifact_sha256(files)
    if found != sha256:
        what = f"the files must have sha256 {sha256[:16]}..., got {found[:16]}..."
        raise ModelError(
            "E-MODEL-HASH", "model", what, "Nothing was loaded: fetch the version from the registry again."
        )
    return Model.from_files(files)


def feature_table(model: Model, frame: pd.DataFrame) -> pa.Table:
    """The model's features by name; others are left out.

    Raises:
        DataError: E-SCORE-SCHEMA when one is absent or has values of another type.
    """
    kinds = {name: kind for name, kind in model.types.items() if name in frame.columns}
    return pa.table({name: _column(frame[name], name, kind) for name, kind in kinds.items()})


def answer(model: Model, table: pa.Table, certainty: Sequence[str] = ()) -> pa.Table:
    """The columns of the batch scores, those of `certainty`, and `reason`: one row per row of `table`."""
    uncalibrated = model.uncalibrated(table)
    scores = np.asarray(model.calibrated(uncalibrated), dtype=np.float64)
    answered = is_answered(scores)
    columns = answer_arrays(model, scores[answered])
    columns += certainty_arrays(model, certainty, uncalibrated[answered], scores[answered])
    reasons = refusals(table.filter(pa.array(~answered))).take(_places(~answered))
    arrays = [*(pa.array(column).take(_places(answered)) for column in columns), reasons]
    return pa.table(arrays, schema=pa.schema(all_fields(model, certainty)))


def all_fields(model: Model, certainty: Sequence[str]) -> list[tuple[str, pa.DataType]]:
    """Names and types of the columns of `answer`."""
    return [*answer_fields(model), *certainty_fields(certainty), ("reason", pa.string())]


def _places(chosen: np.ndarray) -> pa.Array:
    """For each row its position among the chosen ones; null for the others."""
    return pa.array(np.cumsum(chosen) - 1, mask=~chosen)


def _column(values: pd.Series, name: str, kind: str) -> pa.Array:
    try:
        if kind == "number":
            return pa.array(values.to_numpy(dtype=np.float64, na_value=np.nan), from_pandas=True)
        if kind == "image":
            return pa.array([_image(value) for value in values], pa.binary())
        return pa.array(values, pa.string(), from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([_word(value, name) for value in values], pa.string())
    except (TypeError, ValueError) as error:
        wanted = "images in base64" if kind == "image" else "numbers"
        raise DataError("E-SCORE-SCHEMA", f"feature '{name}'", f"must hold {wanted}: {str(error)[:200]}") from error


def _image(value: Any) -> bytes | None:
    """Bytes as they are, text as the base64 of them: JSON holds no bytes."""
    if value is None or value is pd.NA or isinstance(value, bytes):
        return value if isinstance(value, bytes) else None
    if isinstance(value, float) and np.isnan(value):
        return None
    return base64.b64decode(value, validate=True)


def _word(value: Any, name: str) -> str | None:
    """A category as the feature table writes it: JSON has true for it, and pandas 5.0 for 5 beside a null."""
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, int | np.integer):
        return str(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return str(int(value))
    what = f"must hold text, got {quote(value)}"
    raise DataError("E-SCORE-SCHEMA", f"feature '{name}'", what, "Send categories as text or null.")
