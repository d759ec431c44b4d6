"""A real PostgreSQL server for tests: its own process on a free port, its data in a temporary folder."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from itertools import count
from pathlib import Path

import psutil

from pipelines.servers.ports import free_ports
from pipelines.servers.postgres import PostgreSQL


class PostgresServer:
    """One server; it can be killed and started again on the same data."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.launch = PostgreSQL(folder, free_ports(1)[0])
        self.process: subprocess.Popen[bytes] | None = None
        self._numbers = count(1)
        self.start()

    def start(self) -> None:
        # Nothing here outlives the machine, and an fsync per transaction is what a test would mostly wait for.
        command = [*self.launch.command(), "-c", "fsync=off"]
        with open(self.folder / "server.log", "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while not self.launch.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self.folder / "server.log").read_text()[-2000:])
            time.sleep(0.05)

    def fresh(self) -> str:
        """URL of a new, empty database."""
        name = f"test_{next(self._numbers)}"
        self.launch.create_database(name)
        return self.launch.url(name)

    def kill(self) -> None:
        """kill -9 of the server and of each process that serves a connection: each has a group of its own."""
        if self.process and self.process.poll() is None:
            everyone = psutil.Process(self.process.pid).children(recursive=True)
            for process in [self.process.pid, *(child.pid for child in everyone)]:
                os.kill(process, signal.SIGKILL)
            self.process.wait()
            psutil.wait_procs(everyone, timeout=10)
