"""The password of a server that this machine starts for itself."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def kept_password(folder: Path) -> str:
    """The server's password: made once, in a file that only the owner reads, there as a whole or not at all."""
    path = folder / "password"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        aside = path.with_name(f".password.{os.getpid()}")
        aside.touch(0o600)
        aside.write_text(secrets.token_hex(16))
        os.replace(aside, path)
    return path.read_text()
