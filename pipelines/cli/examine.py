"""The examinations of `nightshift doctor`, each a finding with advice."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from pipelines.errors import NightshiftError
from pipelines.home import REPOSITORY, Home

_NEEDED_PYTHON = (3, 11)
_FEW_GIB = 5.0
_IMPORT_TIMEOUT_SECONDS = 300
_PROVIDERS = "apache-airflow-providers-"
# Airflow's own package has no files but its description.
_MODULES = {"apache-airflow": "airflow"}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `warn` lets pipelines run, `fail` does not."""

    name: str
    state: Literal["ok", "warn", "fail"]
    found: str
    advice: str = ""


def examine(home: Home, ports: tuple[int, int] = (8080, 5000), imports: bool = True) -> Iterator[Finding]:
    """Findings as they are made; `imports` really imports each library, which takes half a minute."""
    yield _python()
    yield _commit()
    yield from _libraries(imports)
    yield _gpu()
    yield _disk(home)
    yield _writable(home)
    yield _storage(home)
    yield _ledger(home)
    yield _mlflow(home)
    yield from _configuration(home)
    for name, port in zip(("Airflow", "MLflow"), ports, strict=True):
        yield _port(name, port)


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < _NEEDED_PYTHON:
        return Finding(
            "Python", "fail", version, "Nightshift needs Python 3.11 or newer: make install PYTHON=python3.11"
        )
    return Finding("Python", "ok", f"{version} ({sys.prefix})")


def _commit() -> Finding:
    from pipelines.runs.step import code_version

    version = code_version()
    if version == "unknown":
        return Finding("code", "warn", "no git commit", "Runs cannot record which code they ran: use a git checkout.")
    advice = "Commit before a run whose result must be reproduced." if version.endswith("+changes") else ""
    return Finding("code", "warn" if advice else "ok", version, advice)


def _libraries(imports: bool) -> Iterator[Finding]:
    """Direct dependencies against the lock; with `imports` each is imported in one child process."""
    locked = _locked()
    names = [name for name in _required() if name.lower() in locked or _installed(name)]
    errors = _import_errors(names) if imports else {}
    for name in _required():
        installed, wanted = _installed(name), locked.get(name.lower())
        if installed is None:
            yield Finding(name, "fail", "not installed", "make install")
        elif name in errors:
            yield Finding(name, "fail", f"{installed} does not import: {errors[name]}", "rm -rf .venv && make install")
        elif wanted and installed != wanted:
            yield Finding(name, "warn", f"{installed}, the lock says {wanted}", "make install")
        else:
            yield Finding(name, "ok", installed + ("" if wanted else " (not in the lock)"))


def _required() -> list[str]:
    lines = (REPOSITORY / "requirements.txt").read_text().splitlines()
    return [found[0] for line in lines if (found := re.match(r"[A-Za-z0-9._-]+", line))]


def _locked() -> dict[str, str]:
    """Version by lower-case name, from constraints.txt."""
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    pairs = [line.split("#")[0].strip().partition("==") for line in lines]
    return {name.strip().lower(): version.strip() for name, sign, version in pairs if sign}


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _import_errors(names: list[str]) -> dict[str, str]:
    """Error by library. One child for all: a broken native library must not take this process with it."""
    modules = {name: _module(name) for name in names}
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    print('try', name, flush=True)\n"
        "    try: importlib.import_module(name)\n"
        "    except BaseException as error: print('bad', name, type(error).__name__, str(error)[:200], flush=True)\n"
    )
    try:
        child = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code, *modules.values()],
            capture_output=True,
            text=True,
            timeout=_IMPORT_TIMEOUT_SECONDS,
            check=False,
            env=os.environ
            | {"DO_NOT_TRACK": "true", "MLFLOW_DISABLE_TELEMETRY": "true", "GIT_PYTHON_REFRESH": "quiet"},
        )
    except subprocess.TimeoutExpired:
        return {names[0]: f"importing all libraries took more than {_IMPORT_TIMEOUT_SECONDS} s"}
    return _read_import_errors(child.stdout, child.returncode, {module: name for name, module in modules.items()})


def _module(name: str) -> str:
    """What one writes behind `import` for a distribution: of the modules that it brings the one that is named alike."""
    if name.startswith(_PROVIDERS):
        return f"airflow.providers.{name.removeprefix(_PROVIDERS).replace('-', '.')}"
    alike = name.lower().replace("-", "_")
    brought = {
        module
        for module, distributions in metadata.packages_distributions().items()
        if alike in {one.lower().replace("-", "_") for one in distributions} and module[0].isalpha()
    }
    return _MODULES.get(name) or (alike if alike in brought else min(brought, default=alike))


def _read_import_errors(output: str, returncode: int, names: dict[str, str]) -> dict[str, str]:
    lines = [line.split(" ", 2) for line in output.splitlines() if line.startswith(("try ", "bad "))]
    errors = {names[line[1]]: line[2] for line in lines if line[0] == "bad"}
    if returncode != 0 and lines:
        errors[names[lines[-1][1]]] = f"the process ended with {returncode} while importing it"
    return errors


def _gpu() -> Finding:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return Finding("GPU", "ok", "none; tasks run on the CPU ('device: cuda' would be refused)")
    listed = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=20, check=False)
    cards = [line.partition(" (UUID")[0] for line in listed.stdout.splitlines() if line.startswith("GPU")]
    if not cards:
        return Finding("GPU", "warn", "nvidia-smi finds no card", listed.stderr.strip()[:200])
    return Finding("GPU", "ok", "; ".join(cards))


def _existing(path: Path) -> Path:
    """The nearest folder that exists."""
    while not path.exists():
        path = path.parent
    return path


def _disk(home: Home) -> Finding:
    free = shutil.disk_usage(_existing(home.root)).free / 2**30
    found = f"{free:.1f} GiB free at {home.root}"
    if free < 1:
        return Finding("disk", "fail", found, "Free some space, or put the home elsewhere with --home.")
    return Finding("disk", "warn" if free < _FEW_GIB else "ok", found, "Tables grow." if free < _FEW_GIB else "")


def _writable(home: Home) -> Finding:
    """Writes and removes a file in the home, or in the folder in which the home would be made."""
    folder = _existing(home.root)
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"nightshift")
    except OSError as error:
        return Finding("home", "fail", f"{folder} cannot be written: {error.strerror}", "Choose another with --home.")
    return Finding("home", "ok", str(home.root) + ("" if home.root.exists() else " (made by the first run)"))


def _storage(home: Home) -> Finding:
    """Asks an object store for what releases need: a write, and the refusal of a conditional one."""
    if not home.storage.startswith("s3://"):
        return Finding("storage", "ok", home.storage)
    try:
        home.files("exports").prepare(0)
    except NightshiftError as error:
        return Finding("storage", "fail", str(error), "Correct NIGHTSHIFT_STORAGE, AWS_ENDPOINT_URL or the role.")
    return Finding("storage", "ok", f"{home.storage} (conditional writes work)")


def _ledger(home: Home) -> Finding:
    from sqlalchemy import make_url

    from pipelines.ledger import Ledger

    shown = make_url(home.ledger_url).render_as_string(hide_password=True)
    if home.ledger_url.startswith("sqlite:///") and not Path(home.ledger_url.removeprefix("sqlite:///")).exists():
        return Finding("ledger", "ok", f"{shown} (made by the first run)")
    try:
        Ledger(home.ledger_url).accounting("nightshift")
    except (NightshiftError, ImportError) as error:
        return Finding("ledger", "fail", f"{shown}: {error}", "Start the database, or correct NIGHTSHIFT_LEDGER_URL.")
    return Finding("ledger", "ok", shown)


def _mlflow(home: Home) -> Finding:
    uri = home.mlflow_uri
    if uri.startswith("sqlite:///"):
        there = Path(uri.removeprefix("sqlite:///")).exists()
        return Finding("MLflow", "ok", uri + ("" if there else " (made by the first training)"))
    found = re.match(r"https?://([^/:]+)(?::(\d+))?", uri)
    if not found:
        return Finding("MLflow", "ok", uri)
    port = int(found[2] or (443 if uri.startswith("https") else 80))
    try:
        socket.create_connection((found[1], port), timeout=5).close()
    except OSError as error:
        return Finding("MLflow", "fail", f"{uri} does not answer: {error}", "Start it, or correct MLFLOW_TRACKING_URI.")
    return Finding("MLflow", "ok", uri)


def _configuration(home: Home) -> Iterator[Finding]:
    from pipelines.cli.checking import check_all

    result = check_all(home.config, None, deep=False)
    if result.ok:
        yield Finding("configuration", "ok", f"{len(result.checked)} file(s) in {home.config}")
    else:
        yield Finding("configuration", "fail", f"{len(result.problems)} problem(s)", "nightshift check")
    for variable, pipelines in sorted(_unset_variables(home).items()):
        needed = f"not set; needed by {', '.join(pipelines)}"
        yield Finding(variable, "warn", needed, f"export {variable}=... before those run")


def _unset_variables(home: Home) -> dict[str, list[str]]:
    """Names in `${...}` of source paths that neither environment nor home know, with the pipelines that use them."""
    from pipelines.settings.pipeline import variables_in

    found: dict[str, list[str]] = {}
    for path in sorted((home.config / "pipelines").glob("*.yaml")):
        for variable in sorted(set(variables_in(path.read_text(errors="replace")))):
            if variable not in os.environ and variable not in {*home.environment(), "NIGHTSHIFT_STORAGE"}:
                found.setdefault(variable, []).append(path.stem)
    return found


def _port(name: str, port: int) -> Finding:
    """Whether `nightshift up` could listen there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            advice = f"Fine if 'nightshift up' runs; else: nightshift up --{name.lower()}-port N"
            return Finding(f"port {port}", "warn", f"in use ({name})", advice)
    return Finding(f"port {port}", "ok", f"free ({name})")
