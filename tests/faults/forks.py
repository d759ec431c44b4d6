"""Children that begin with every library loaded: a fault test starts a hundred, and imports alone cost seconds each.

The server process imports once and has no other thread; each request forks one child that runs tests.faults.chain.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import traceback
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from pipelines.home import REPOSITORY
from pipelines.runs.airflow_home import LIBRARIES

LOADED = ("great_expectations", "mlflow", "mlflow.tracking", "xgboost", "sklearn.pipeline", "pipelines.runs.step")


@dataclass
class Child:
    """A running attempt; `wait` gives its exit code (negative: the signal) and what it wrote to stderr."""

    pid: int
    errors: Path
    server: ForkServer

    def state(self) -> str:
        """As in /proc: R and S run, T is stopped, Z has ended."""
        return Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()[0]

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def wait(self) -> tuple[int, str]:
        return int(self.server.ask({"wait": self.pid})), self.errors.read_text()


class ForkServer:
    """The client's side; `close` ends the server."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._count = folder, 0
        folder.mkdir(parents=True, exist_ok=True)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.forks"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=REPOSITORY,
            env=LIBRARIES | os.environ,
            text=True,
        )

    def start(self, arguments: list[str], environment: dict[str, str]) -> Child:
        self._count += 1
        errors = self._folder / f"{self._count}.stderr"
        request = {"arguments": arguments, "environment": environment, "errors": str(errors)}
        return Child(int(self.ask(request)), errors, self)

    def ask(self, request: dict[str, Any]) -> str:
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the fork server has no pipes")
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline()

    def close(self) -> None:
        if self._process.stdin:
            self._process.stdin.close()
        self._process.wait(60)


def serve() -> None:
    from pipelines.runs.steps import STEPS, step_function

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not look like an answer
    for name in LOADED:
        import_module(name)
    for step in STEPS:
        step_function(step)
    for line in sys.stdin:
        request = json.loads(line)
        answer = _ended(request["wait"]) if "wait" in request else _forked(request)
        print(answer, file=answers, flush=True)


def _ended(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _forked(request: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.dup2(os.open(request["errors"], os.O_WRONLY | os.O_CREAT, 0o600), 2)
        os.environ.update(request["environment"])
        from tests.faults.chain import main

        main(*request["arguments"])
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
