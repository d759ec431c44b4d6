"""`make up`: Airflow and the MLflow server of one home, on loopback."""

from pipelines.launch.up import up

__all__ = ["up"]
