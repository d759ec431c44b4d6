"""A Redis server of one folder, on loopback with a password, that loses no queued task when it is killed."""

from __future__ import annotations

import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import ConfigError
from pipelines.servers.passwords import kept_password


@dataclass(frozen=True)
class Redis:
    """The server whose data lie in `folder`; made on first use."""

    folder: Path
    port: int

    @property
    def password(self) -> str:
        return kept_password(self.folder)

    def url(self, database: int = 0) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/{database}"

    def command(self) -> list[str]:
        """Starts the server in the foreground.

        Append-only with fsync at each write, so that a queued task outlives a kill -9; `noeviction`, so that a full
        memory is an error and not a forgotten task.
        """
        server = shutil.which("redis-server")
        if not server:
            what = "the program 'redis-server' must be installed, got nothing on the PATH"
            raise ConfigError("E-CLUSTER-PROGRAM", "cluster", what, "apt-get install redis-server")
        settings = self.folder / "redis.conf"
        lines = {
            **{"bind": "127.0.0.1", "port": self.port, "requirepass": self.password, "dir": self.folder},
            **{"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction", "daemonize": "no"},
        }
        settings.touch(0o600)  # the password is in it, and not in the command line
        settings.write_text("".join(f"{name} {value}\n" for name, value in lines.items()))
        return [server, str(settings)]

    def answers(self) -> bool:
        """Whether it takes commands now; while it loads its data it does not."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
                connection.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
                return b"PONG" in connection.recv(64)
        except OSError:
            return False
