"""Nightshift's entries in the Airflow UI: the pages, a tab on each DAG, and one on each run."""

import sys
from typing import Any

from airflow.plugins_manager import AirflowPlugin

from pipelines.pages.addresses import PREFIX


def _apps() -> list[dict[str, Any]]:
    """The application, only where it is served: each task process imports this file, too."""
    if "api-server" not in sys.argv[:2] and "api_server" not in " ".join(sys.argv[:2]):
        return []
    from nightshift_pages import pages_app

    from pipelines.home import Home

    return [{"app": pages_app(Home.resolve()), "url_prefix": PREFIX, "name": "nightshift"}]


class NightshiftPlugin(AirflowPlugin):
    name = "nightshift"
    fastapi_apps = _apps()
    external_views = [
        {
            "name": "Nightshift",
            "href": f"{PREFIX}/",
            "destination": "nav",
            "category": "browse",
            "url_route": "nightshift",
        },
        {
            "name": "Nightshift",
            "href": f"{PREFIX}/of/dag/{{DAG_ID}}",
            "destination": "dag",
            "url_route": "nightshift_pipeline",
        },
        {
            "name": "Nightshift",
            "href": f"{PREFIX}/of/run?dag_id={{DAG_ID}}&run_id={{RUN_ID}}",
            "destination": "dag_run",
            "url_route": "nightshift_run",
        },
    ]
