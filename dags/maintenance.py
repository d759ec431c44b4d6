"""Airflow DAG `nightshift__maintenance`: repairs projections, clears what dead runs left, drills a rollback."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import DAG, Param, task

with DAG(
    "nightshift__maintenance",
    description="Registry alias, dead attempts, leftovers and old searches (a dry run by default), a rollback drill",
    schedule="30 4 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    # Backfills of plain cron DAGs have killed schedulers on SQLite, and would mean nothing here.
    allowed_run_types=["scheduled", "manual"],
    tags=["nightshift", "maintenance"],
    default_args={"owner": "nightshift", "retries": 1},
    params={
        "dry_run": Param(True, type="boolean", description="only report what would be removed"),
        "dead_after_hours": Param(24, type="integer", minimum=1, description="older running attempts are dead"),
        "staging_days": Param(14, type="integer", minimum=1, description="older unpublished work is removed"),
        "study_days": Param(365, type="integer", minimum=1, description="older searches for parameters are removed"),
        "drill_again": Param(False, type="boolean", description="repeat this month's rollback drill though it passed"),
    },
) as maintenance:

    @task
    def reconcile_aliases() -> dict[str, str]:
        from pipelines.maintenance import reconcile_aliases

        return reconcile_aliases()

    @task
    def reap_attempts(params: dict) -> dict[str, int]:
        from pipelines.maintenance import reap_attempts

        return reap_attempts(params["dead_after_hours"])

    @task
    def sweep_staging(params: dict) -> dict[str, list[str]]:
        from pipelines.maintenance import sweep_staging

        return sweep_staging(params["staging_days"], dry_run=params["dry_run"])

    @task
    def sweep_studies(params: dict) -> dict[str, list[str]]:
        from pipelines.maintenance import sweep_studies

        return sweep_studies(params["study_days"], dry_run=params["dry_run"])

    @task
    def rollback_drill(params: dict) -> dict[str, str]:
        from pipelines.maintenance import require_passed, rollback_drill

        found = rollback_drill(again=params["drill_again"])
        require_passed(found)
        return found

    reconcile_aliases(), reap_attempts(), sweep_staging(), sweep_studies(), rollback_drill()
