"""How long Nightshift's pages take over a generated ledger, and how large they are.

    python -m benchmarks.pages [--pipelines 50] [--partitions 400] [--versions 200] [--asked 10] [--folder F] [--cpu]

The pipelines are copies of card_payments under other names; the ledger (SQLite, or NIGHTSHIFT_LEDGER_URL) holds rows
and JSON of the sizes that real runs write. Every page is asked for through the ASGI application, without sign-in and
without a network: "first" is the first view of a pipeline, whose drawings were never made, "again" is any later one.
Milliseconds, median and 95th percentile; kB of HTML. Also the processor seconds of `nightshift status`, of one pipeline
and of all, and of the morning report. With --cpu pages are told in processor time, too, for a machine that does other
work. Writes Markdown tables.
"""

from __future__ import annotations

import argparse
import logging
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.generated_ledger import fill
from benchmarks.parsing import generate
from pipelines.home import REPOSITORY, Home
from pipelines.ledger import Ledger
from pipelines.pages import addresses
from pipelines.settings import load_pipeline

Clock = Callable[[], float]
_AGAIN = 3  # views of each page of each pipeline after the first


def prepare(folder: Path, pipelines: int, partitions: int, versions: int) -> tuple[Home, list[str], date]:
    """The home with its settings and its ledger, the names, and the newest partition: yesterday."""
    newest = datetime.now(UTC).date() - timedelta(days=1)
    home, is_new = Home(folder / "home", folder / "config"), not (folder / "config").exists()
    config = home.config if not is_new else generate(folder, pipelines)
    names = sorted(path.stem for path in (config / "pipelines").glob("*.yaml"))
    if is_new:
        start = newest - timedelta(days=partitions - 1)
        for name in names:
            path = config / "pipelines" / f"{name}.yaml"
            kept = [line for line in path.read_text().splitlines() if not line.startswith(("start:", "end:"))]
            path.write_text("\n".join([*kept, f"start: {start}", ""]))
        settings = {name: load_pipeline(name, config).model_dump(mode="json", by_alias=True) for name in names}
        fill(Ledger(home.ledger_url), settings, newest, partitions, versions)
    return home, names, newest


def pages_of(name: str, newest: date, versions: int) -> dict[str, str]:
    """What is asked for of one pipeline: title to address."""
    old = (newest - timedelta(days=200)).isoformat()
    return {
        "pipeline": addresses.pipeline(name),
        "pipeline, 200 nights earlier": addresses.pipeline(name, until=old),
        "pipeline, decisions of the gate": addresses.pipeline(name, kind="gate"),
        "partition, newest": addresses.partition(name, newest.isoformat()),
        "partition, 200 nights earlier": addresses.partition(name, old),
        "version, newest": addresses.version(name, versions),
        "version, older": addresses.version(name, versions // 2),
        "compare": addresses.compare(name, versions - 1, versions),
        "scorecard": addresses.scorecard(name),
    }


def client(home: Home) -> Any:
    """A client of the application as Airflow's server mounts it, everybody signed in and free to read."""
    sys.path.insert(0, str(REPOSITORY / "plugins"))
    os.environ["AIRFLOW_HOME"] = str(home.airflow)
    logging.disable(logging.INFO)  # the client says every request
    import nightshift_pages
    from airflow.api_fastapi.app import lifespan
    from airflow.api_fastapi.core_api.security import get_user
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    for name in ("may_read", "may_start"):
        if hasattr(nightshift_pages, name):
            setattr(nightshift_pages, name, lambda *_: True)
    app = nightshift_pages.pages_app(home)
    app.dependency_overrides[get_user] = lambda: None
    server = FastAPI(lifespan=lifespan)
    server.mount(addresses.PREFIX, app)
    return TestClient(server)


def measure(
    home: Home, names: list[str], newest: date, versions: int, asked_of: int, clock: Clock
) -> dict[str, dict[str, list[float]]]:
    """Title to `first` and `again` (milliseconds) and `kb`."""
    with client(home) as asked:  # begins as the server does: what it does then, no page waits for
        return _measured(asked, names, newest, versions, asked_of, clock)


def _measured(
    asked: Any, names: list[str], newest: date, versions: int, asked_of: int, clock: Clock
) -> dict[str, dict[str, list[float]]]:
    pages = _existing(asked, names[0], newest, versions)
    found: dict[str, dict[str, list[float]]] = {"overview": {"first": [], "again": [], "kb": []}}
    _ask(asked, clock, addresses.overview(), found["overview"], "first")
    for _ in range(_AGAIN * 10):
        _ask(asked, clock, addresses.overview(), found["overview"], "again")
    for name in names[1 : asked_of + 1]:
        for title in pages:
            address = pages_of(name, newest, versions)[title]
            one = found.setdefault(title, {"first": [], "again": [], "kb": []})
            _ask(asked, clock, address, one, "first")
            for _ in range(_AGAIN):
                _ask(asked, clock, address, one, "again")
    return found


def _existing(asked: Any, name: str, newest: date, versions: int) -> list[str]:
    """Titles of the pages that this version has; each was asked for once, which pays for imports and templates."""
    found = []
    for title, address in pages_of(name, newest, versions).items():
        if asked.get(address).status_code == 200:
            found.append(title)
        else:
            print(f"left out, there is no such page: {title}", file=sys.stderr)
    return found


def _ask(asked: Any, clock: Clock, address: str, one: dict[str, list[float]], when: str) -> None:
    begun = clock()
    answer = asked.get(address)
    seconds = clock() - begun
    if answer.status_code != 200:
        raise SystemExit(f"{address} answered {answer.status_code}: {answer.text[-2000:]}")
    one[when].append(1000 * seconds)
    one["kb"].append(len(answer.content) / 1000)


def commands(home: Home, name: str) -> dict[str, float]:
    """Processor seconds of whole processes."""
    environment = {**os.environ, **home.environment()}
    nightshift = [sys.executable, "-c", "from pipelines.cli import main; main()"]

    def seconds(*arguments: str) -> float:
        before = _spent()
        subprocess.run([*nightshift, *arguments], env=environment, check=True, capture_output=True)
        return _spent() - before

    return {
        "`nightshift --help` (what any command takes)": seconds("--help"),
        "`nightshift status NAME`": seconds("status", name),
        "`nightshift status NAME --json`": seconds("status", name, "--json"),
        "`nightshift status` of all": seconds("status"),
        "`nightshift report`: the morning report of all": seconds("report"),
    }


def _spent() -> float:
    """Processor seconds of all ended children."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def markdown(found: dict[str, dict[str, list[float]]], other: dict[str, float]) -> str:
    lines = ["| page | first, ms | 95 % | again, ms | 95 % | kB |", "|---|---:|---:|---:|---:|---:|"]
    for title, one in found.items():
        again = one["again"] or one["first"]
        cells = [statistics.median(one["first"]), _late(one["first"]), statistics.median(again), _late(again)]
        lines.append(f"| {title} | {' | '.join(f'{cell:.0f}' for cell in cells)} | {max(one['kb']):.0f} |")
    lines += [
        "",
        "| command | CPU s |",
        "|---|---:|",
        *(f"| {what} | {seconds:.1f} |" for what, seconds in other.items()),
    ]
    return "\n".join(lines)


def _late(values: list[float]) -> float:
    """The 95th percentile, rounded up to a measured value."""
    return sorted(values)[max(0, -(-95 * len(values) // 100) - 1)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pipelines", type=int, default=50)
    parser.add_argument("--partitions", type=int, default=400)
    parser.add_argument("--versions", type=int, default=200)
    parser.add_argument("--asked", type=int, default=10, help="pipelines whose pages are asked for")
    parser.add_argument("--folder", type=Path, help="kept and used again; default: a temporary one")
    parser.add_argument("--cpu", action="store_true", help="processor time of this process instead of time")
    parser.add_argument("--no-commands", action="store_true", help="only the pages")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        begun = time.perf_counter()
        home, names, newest = prepare(folder, given.pipelines, given.partitions, given.versions)
        print(f"ledger of {given.pipelines} pipelines ready after {time.perf_counter() - begun:.0f} s", file=sys.stderr)
        found = measure(
            home, names, newest, given.versions, given.asked, time.process_time if given.cpu else time.perf_counter
        )
        print(markdown(found, {} if given.no_commands else commands(home, names[0])))


if __name__ == "__main__":
    main()
