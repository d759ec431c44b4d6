"""Commands that take a version elsewhere: serving, onnx."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from pipelines.cli import show
from pipelines.cli.app import AS_JSON, NAME, REFUSED, app, used_home
from pipelines.errors import ModelError

VERSION = Annotated[
    int | None, typer.Argument(min=1, metavar="[VERSION]", help="The model version; default: the champion.")
]
_PORT = 5005


@app.command(rich_help_panel="See")
def serving(
    context: typer.Context,
    name: NAME,
    version: VERSION = None,
    check: Annotated[
        bool, typer.Option("--check", help="Let MLflow answer the recorded rows. Exit code 1 when scores differ.")
    ] = False,
    json: AS_JSON = False,
) -> None:
    """Show how to serve a version with MLflow, and check that it answers as the batch scores do."""
    from pipelines.serving.checking import check_serving, require_package

    run = _open(context, name)
    number = _version_of(run, version)
    record = require_package(run, number)
    result = {"version": number, "mlflow_version": record["mlflow_version"], "serve": _serve_command(run, record)}
    result |= {"ask": _ask_command(record), "answer": _answer(record)}
    result |= {"check": check_serving(run, number)} if check else {}
    show.as_json(result) if json else _page(name, result)
    if check and result["check"]["verdict"] == "differs":
        raise typer.Exit(REFUSED)


@app.command(rich_help_panel="See")
def onnx(
    context: typer.Context,
    name: NAME,
    version: Annotated[int, typer.Argument(min=1, metavar="VERSION", help="The model version.")],
    path: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write it, e.g. fraud.onnx.")],
    json: AS_JSON = False,
) -> None:
    """Write a version as an ONNX file that takes the features as columns, when it scores as the version does."""
    from pipelines.serving.onnx_export import export_onnx

    found = export_onnx(_open(context, name), version, path)
    if json:
        show.as_json(found)
        return
    show.line(
        f"[green]equal[/green]: {found['compared_rows']} rows, largest difference {found['largest_difference']:.3g} "
        f"(tolerance {found['tolerance']:g})"
    )
    show.plain(f"{found['path']}  {found['bytes']:,} bytes  sha256 {found['file_sha256'][:16]}")


def _open(context: typer.Context, name: str) -> Any:
    from pipelines.runs.step import open_context
    from pipelines.settings import load_pipeline

    home = used_home(context)
    return open_context(name, load_pipeline(name, home.config).first_partition().key, "cli__serving", home)


def _version_of(run: Any, version: int | None) -> int:
    champion = run.ledger.champion(run.name)
    if version is None and champion is None:
        raise ModelError("E-SERVE-NONE", run.name, "there is no champion yet", "Name a version.")
    return int(version or champion["version"])


def _serve_command(run: Any, record: dict[str, Any]) -> str:
    """A tracking URI of the environment may hold a password and stays there."""
    known = "" if "MLFLOW_TRACKING_URI" in os.environ else f"MLFLOW_TRACKING_URI={shlex.quote(run.home.mlflow_uri)} "
    model = f"models:/{run.name}/{record['mlflow_version']}"
    return (
        f"{known}MLFLOW_ALLOW_PICKLE_DESERIALIZATION=false MLFLOW_DISABLE_TELEMETRY=true "
        f"mlflow models serve -m {model} --env-manager local --host 127.0.0.1 --port {_PORT}"
    )


def _ask_command(record: dict[str, Any]) -> str:
    from pipelines.serving.checking import request

    body = shlex.quote(json.dumps(request(record, rows=1)))
    return f"curl http://127.0.0.1:{_PORT}/invocations -H 'Content-Type: application/json' -d {body}"


def _answer(record: dict[str, Any]) -> Any:
    scores = record["sample"]["scores"]
    return scores[0] if scores else None


def _page(name: str, result: dict[str, Any]) -> None:
    show.line(f"[bold]{show.escaped(name)} v{result['version']}[/bold]  MLflow version {result['mlflow_version']}")
    for title in ("serve", "ask"):
        show.line(f"\n[bold]{title}[/bold]")
        show.plain(result[title])
    show.line(f"\n[bold]recorded score of that row[/bold]  {result['answer']}")
    if found := result.get("check"):
        colour = "red" if found["verdict"] == "differs" else "green"
        apart = found["largest_difference"]
        show.line(
            f"\ncheck [{colour}]{found['verdict']}[/]: {found['rows']} recorded rows, largest difference "
            f"{'infinite' if apart is None else f'{apart:.3g}'} ({found['seconds']} s)"
        )
        for line in found["differences"]:
            show.line(f"  {show.escaped(line)}")
