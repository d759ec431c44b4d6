"""How MLflow is reached: its client, what of its trouble passes, and requests that are repeated meanwhile.

MLflow's client repeats nothing by itself: it would create a second run when the answer to the first was lost. `ask`
repeats, and its call sites say why that is safe.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import make_url

from pipelines import databases
from pipelines.calls import Service, call
from pipelines.context import Context
from pipelines.errors import StorageError

if TYPE_CHECKING:
    from mlflow import MlflowClient

Answer = TypeVar("Answer")

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


def ask(context: Context, action: str, work: Callable[[], Answer]) -> Answer:
    """The answer of `work`, repeated while MLflow is away: doing it twice must leave the same."""
    return call(MLFLOW, databases.place(make_url(context.home.mlflow_uri)), f"{action} of {context.name}", work)
