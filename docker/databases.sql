-- Runs once, on an empty data folder. Airflow, the ledger and MLflow keep their tables apart.
CREATE DATABASE airflow;
CREATE DATABASE ledger;
CREATE DATABASE mlflow;
