"""`make up` and `make cluster`: Airflow, MLflow and their servers on loopback."""

from pipelines.launch.cluster import cluster
from pipelines.launch.up import up

__all__ = ["cluster", "up"]
