"""Makes broken pipeline files visible: Airflow shows an import error of this file, all other DAGs stay as they are."""

from __future__ import annotations

from nightshift_dags import settings_errors

if _errors := settings_errors():
    from pipelines.errors import ConfigError

    raise ConfigError(
        "E-CONFIG-PIPELINE",
        "config/pipelines",
        f"{len(_errors)} pipeline(s) have no DAGs: " + " | ".join(f"{name}: {text}" for name, text in _errors.items()),
        "Run 'nightshift check'.",
    )
