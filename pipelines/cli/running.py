"""Commands that run pipelines: run, retrain, up, demo."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli import show
from pipelines.cli.app import AS_JSON, NAME, REFUSED, app, session

_PANEL = "Run"


@app.command(rich_help_panel=_PANEL)
def run(
    context: typer.Context,
    name: NAME,
    first: Annotated[str, typer.Option("--from", metavar="D", help="First partition, e.g. 2026-03-02.")],
    last: Annotated[str | None, typer.Option("--to", metavar="D", help="Last partition; the first when unset.")] = None,
    retrain_every: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Also retrain after every N partitions.")
    ] = None,
    keep_going: Annotated[bool, typer.Option("--keep-going", help="Go on after a partition that failed.")] = False,
    json: AS_JSON = False,
) -> None:
    """Run the real DAGs for each partition, here and without a server. Finished work is not done again."""
    from pipelines.cli.progress import Progress
    from pipelines.runs.local import run_days
    from pipelines.settings import load_pipeline

    home = session(context).home
    keys = _partitions(load_pipeline(name, home.config), first, last or first)
    with Progress(home, name, len(keys), quiet=json) as progress:
        events = run_days(home, name, keys, retrain_every, on_event=progress.on_event, keep_going=keep_going)
    if json:
        show.as_json(events)
    else:
        progress.summarise(keys)
    if any(event["state"] == "failed" for event in events):
        raise typer.Exit(REFUSED)


def _partitions(pipeline, first: str, last: str) -> list[str]:  # type: ignore[no-untyped-def]
    """Keys from `first` to `last`.

    Raises:
        ConfigError: a key is no partition, lies outside the pipeline's life, or they are in the wrong order.
    """
    from pipelines.errors import ConfigError
    from pipelines.partitions import partitions_between

    start, end = pipeline.parse(first), pipeline.parse(last)
    if end < start:
        raise ConfigError("E-RUN-PARTITION", pipeline.name, f"'--to' must not be before '--from', got {last} < {first}")
    if start < pipeline.first_partition():
        raise ConfigError(
            "E-RUN-PARTITION", pipeline.name, f"{first} lies before 'start' of the pipeline ({pipeline.start})"
        )
    if pipeline.end and end.start.date() > pipeline.end:
        raise ConfigError(
            "E-RUN-PARTITION", pipeline.name, f"{last} lies behind 'end' of the pipeline ({pipeline.end})"
        )
    return [partition.key for partition in partitions_between(start, end)]


@app.command(rich_help_panel=_PANEL)
def retrain(
    context: typer.Context,
    name: NAME,
    as_of: Annotated[
        str | None,
        typer.Option(metavar="D", help="Last partition that may be seen; the newest accepted one when unset."),
    ] = None,
    json: AS_JSON = False,
) -> None:
    """Train a challenger and let the gate decide. Exit code 0 also when the gate says HOLD: then the champion stays."""
    from pipelines.cli.progress import Progress
    from pipelines.runs.local import run_retrain
    from pipelines.runs.steps import latest_clean
    from pipelines.settings import load_pipeline

    home = session(context).home
    pipeline = load_pipeline(name, home.config)
    key = pipeline.parse(as_of).key if as_of else latest_clean(name, home)
    with Progress(home, name, 1, quiet=json) as progress:
        event = run_retrain(home, name, key, on_event=progress.on_event)
    if json:
        show.as_json(event)
    if event["state"] == "failed":
        if not json:
            progress.ask_for_repair([])
        raise typer.Exit(REFUSED)
    if not json:
        show.hint(f"nightshift status {name}")


@app.command(rich_help_panel=_PANEL)
def up(
    context: typer.Context,
    airflow_port: Annotated[int, typer.Option(min=1, max=65535)] = 8080,
    mlflow_port: Annotated[int, typer.Option(min=1, max=65535)] = 5000,
) -> None:
    """Start Airflow (scheduler and UI) and the MLflow UI on this machine's loopback; Ctrl-C stops them."""
    from pipelines.launch import up as launch

    raise typer.Exit(launch(session(context).home, airflow_port, mlflow_port))


@app.command(rich_help_panel=_PANEL)
def cluster(
    context: typer.Context,
    airflow_port: Annotated[int, typer.Option(min=1, max=65535)] = 8080,
    mlflow_port: Annotated[int, typer.Option(min=1, max=65535)] = 5000,
    workers: Annotated[int, typer.Option(min=1, help="Celery workers for ordinary steps.")] = 1,
    gpu_workers: Annotated[int, typer.Option(min=0, help="Celery workers for the queue 'gpu'.")] = 1,
    concurrency: Annotated[int, typer.Option(min=1, help="Tasks that an ordinary worker runs at once.")] = 2,
    storage: Annotated[
        str | None, typer.Option(help="s3://bucket/prefix of your own; else an S3 server is started.")
    ] = None,
) -> None:
    """Start a cluster's servers here as processes: PostgreSQL, Redis, S3, MLflow, Airflow, Celery workers."""
    from pipelines.launch import cluster as launch
    from pipelines.launch.workers import usual_workers

    chosen = usual_workers(workers, gpu_workers, concurrency)
    raise typer.Exit(launch(session(context).home, chosen, airflow_port, mlflow_port, storage))


@app.command(rich_help_panel=_PANEL)
def demo(context: typer.Context) -> None:
    """Simulate a card-payments feed and run a bad week of it: broken rows, poisoned labels, drift, a rollback."""
    from pipelines.demo import run_demo

    raise typer.Exit(run_demo(session(context).home))
