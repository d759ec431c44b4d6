"""`nightshift doctor`: whether this machine can run pipelines, and what to do where it cannot."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from pipelines.cli import show
from pipelines.cli.app import AS_JSON, REFUSED, app, session


@app.command(rich_help_panel="Configuration")
def doctor(
    context: typer.Context,
    quick: Annotated[bool, typer.Option("--quick", help="Compare versions only, do not import the libraries.")] = False,
    airflow_port: Annotated[int, typer.Option(min=1, max=65535)] = 8080,
    mlflow_port: Annotated[int, typer.Option(min=1, max=65535)] = 5000,
    json: AS_JSON = False,
) -> None:
    """Examine this installation: Python, libraries, GPU, disk, home, ledger, MLflow, ports. Exit code 1 on failure."""
    from pipelines.cli.examine import examine

    home = session(context).home
    findings = []
    for finding in examine(home, ports=(airflow_port, mlflow_port), imports=not quick):
        findings.append(finding)
        if not json:
            advice = f"\n      [dim]{show.escaped(finding.advice)}[/dim]" if finding.advice else ""
            mark = show.coloured(finding.state) + " " * (4 - len(finding.state))
            show.line(f"{mark}  [bold]{show.escaped(finding.name)}[/bold]  {show.escaped(finding.found)}{advice}")
    failed = [finding for finding in findings if finding.state == "fail"]
    if json:
        show.as_json({"ok": not failed, "findings": [asdict(finding) for finding in findings]})
    if failed:
        show.problem(f"E-DOCTOR-FAIL nightshift doctor: {len(failed)} thing(s) must be repaired: see 'fail' above.")
        raise typer.Exit(REFUSED)
