"""A PostgreSQL server of one folder, on loopback with a password, from the programs that Debian installs."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote_plus

from pipelines.errors import ConfigError, StorageError
from pipelines.launch.passwords import kept_password

_USER = "nightshift"
_PLACES = "/usr/lib/postgresql/*/bin"


@dataclass(frozen=True)
class PostgreSQL:
    """The server whose data lie in `folder`; made on first use."""

    folder: Path
    port: int

    @property
    def password(self) -> str:
        return kept_password(self.folder)

    def url(self, database: str) -> str:
        """SQLAlchemy's address of a database."""
        return f"postgresql+psycopg2://{_USER}:{quote_plus(self.password)}@127.0.0.1:{self.port}/{database}"

    def command(self) -> list[str]:
        """Starts the server in the foreground; makes its data folder first.

        No unix socket: its path would have to be short and would be shared with other servers.
        """
        data = self.folder / "data"
        if not (data / "PG_VERSION").exists():
            self._make(data)
        settings = {
            **{"listen_addresses": "127.0.0.1", "port": str(self.port), "unix_socket_directories": ""},
            **{"max_connections": "200", "shared_buffers": "64MB"},
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [*_as_somebody(data), program("postgres"), "-D", str(data), *options]

    def answers(self) -> bool:
        """Whether it takes connections now."""
        import psycopg2

        try:
            psycopg2.connect(self._dsn("postgres")).close()
        except psycopg2.OperationalError:
            return False
        return True

    def create_database(self, name: str) -> None:
        """Creates a database; one that exists is left as it is."""
        import psycopg2
        from psycopg2.errors import DuplicateDatabase

        connection = psycopg2.connect(self._dsn("postgres"))
        try:
            connection.autocommit = True  # CREATE DATABASE refuses to run inside a transaction
            connection.cursor().execute(f'CREATE DATABASE "{name}"')
        except DuplicateDatabase:
            pass
        finally:
            connection.close()

    def _dsn(self, database: str) -> str:
        return (
            f"host=127.0.0.1 port={self.port} user={_USER} password={self.password} dbname={database} connect_timeout=3"
        )

    def _make(self, data: Path) -> None:
        shutil.rmtree(data, ignore_errors=True)  # a first start that was killed half way
        data.mkdir(parents=True, mode=0o700)
        _ = self.password
        if os.geteuid() == 0:
            shutil.chown(data, "postgres", "postgres")
        command = [
            *(*_as_somebody(data), program("initdb"), "-D", str(data), "-U", _USER, "-E", "UTF8", "--locale=C.UTF-8"),
            *("--auth=scram-sha-256", f"--pwfile={self.folder / 'password'}"),
        ]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode != 0:
            raise StorageError("E-UP-START", "postgres", f"initdb failed: {made.stderr.strip()[-300:]}")


def program(name: str) -> str:
    """The newest of the installed PostgreSQL programs of that name.

    Raises:
        ConfigError: E-CLUSTER-PROGRAM when there is none.
    """
    installed = sorted(Path("/").glob(f"{_PLACES.lstrip('/')}/{name}"), key=lambda path: int(path.parts[-3]))
    found = str(installed[-1]) if installed else shutil.which(name)
    if not found:
        what = f"the PostgreSQL program '{name}' must be installed, got nothing in {_PLACES} or on the PATH"
        raise ConfigError("E-CLUSTER-PROGRAM", "cluster", what, "apt-get install postgresql")
    return found


def _as_somebody(data: Path) -> list[str]:
    """PostgreSQL refuses to run as root: then it runs as the user `postgres`, who may pass through root's folders."""
    if os.geteuid() != 0:
        return []
    try:
        user = pwd.getpwnam("postgres")
    except KeyError:
        what = f"a user 'postgres' must exist, because PostgreSQL does not run as root ({data})"
        raise ConfigError("E-CLUSTER-PROGRAM", "cluster", what, "apt-get install postgresql") from None
    return [
        *("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"),
        *("--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--pdeathsig=TERM"),
    ]
