"""What a long training has reached, kept where the next attempt finds it; a damaged checkpoint is passed over."""

from __future__ import annotations

import hashlib
import logging
import re
from dataclasses import dataclass

from pipelines.storage.files import Files

log = logging.getLogger("nightshift")

_NAME = re.compile(r"(\d{8})-([0-9a-f]{64})\.bin")
_KEPT = 2  # the last one, and the one before it should the last be damaged


@dataclass(frozen=True)
class Checkpoints:
    """Numbered contents of one training; the name of each holds the sha256 of its bytes."""

    files: Files

    def at(self, *parts: str) -> Checkpoints:
        """Those of one part of the training."""
        return Checkpoints(self.files.at(*parts))

    def save(self, number: int, content: bytes) -> None:
        """Writes checkpoint `number` durably and removes all but the last two."""
        name = f"{number:08d}-{hashlib.sha256(content).hexdigest()}.bin"
        self.files.write(name, content)
        kept = {name, *sorted((one for one in self._names() if one < name), reverse=True)[: _KEPT - 1]}
        for old in self._names():
            if old not in kept:
                self.files.remove(old)

    def latest(self) -> bytes | None:
        """The newest undamaged checkpoint, None when there is none."""
        for name in sorted(self._names(), reverse=True):
            content = self.files.read(name)
            if content is not None and hashlib.sha256(content).hexdigest() == name[9:73]:
                return content
            log.warning("checkpoint %s is damaged and was passed over", self.files.address(name))
        return None

    def clear(self) -> None:
        """Removes every checkpoint below this place."""
        for entry in list(self.files.entries()):
            self.files.remove(entry.name)

    def _names(self) -> list[str]:
        return [entry.name for entry in self.files.entries() if _NAME.fullmatch(entry.name)]
