"""What MLflow runs to load a registered version ("models from code"), copied beside the model's own files."""

from __future__ import annotations

from mlflow.models import set_model

from pipelines.serving.served import Served

set_model(Served())
