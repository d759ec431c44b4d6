"""What a long training has reached, kept where the next attempt finds it; a damaged checkpoint is passed over."""

from __future__ import annotations

import hashlib
import logging
import re
from dataclasses import dataclass, field

from pipelines.storage.files import Files

log = logging.getLogger("nightshift")

_NAME = re.compile(r"(\d{8})-([0-9a-f]{64})(-best)?\.bin")
KEPT = 2  # the last one, and the one before it should the last be damaged


@dataclass(frozen=True)
class Checkpoints:
    """Numbered contents of one training; the name of each holds the sha256 of its bytes.

    Kept are the last `keep`, and the one that was the best so far by the validation rows, however old. `notes` tell
    where the training went on and what was damaged; all parts of a training share them.
    """

    files: Files
    keep: int = KEPT
    notes: list[str] = field(default_factory=list, compare=False)

    def at(self, *parts: str) -> Checkpoints:
        """Those of one part of the training."""
        return Checkpoints(self.files.at(*parts), self.keep, self.notes)

    def save(self, number: int, content: bytes, is_best: bool = False) -> None:
        """Writes checkpoint `number` durably, then removes what need not be kept, and every later number.

        `is_best`: since the last one the loss on the validation rows was the least so far.
        """
        name = f"{number:08d}-{hashlib.sha256(content).hexdigest()}{'-best' if is_best else ''}.bin"
        self.files.write(name, content)
        earlier = [one for one in self._newest_first() if one[:8] < name[:8]]
        best = [one for one in (name, *earlier) if _is_best(one)][:1]
        kept = {name, *earlier[: self.keep - 1], *best}
        for old in self._newest_first():
            if old not in kept:
                self.files.remove(old)

    def latest(self) -> bytes | None:
        """The newest undamaged checkpoint, None when there is none: the training then begins anew."""
        for name in self._newest_first():
            content = self.files.read(name)
            if content is not None and hashlib.sha256(content).hexdigest() == name[9:73]:
                self.notes.append(f"went on from checkpoint {self._place(name)}")
                return content
            self.notes.append(f"checkpoint {self._place(name)} is damaged and was passed over")
            log.warning("%s: %s", self.files.root, self.notes[-1])
        return None

    def clear(self) -> None:
        """Removes every checkpoint below this place."""
        for entry in list(self.files.entries()):
            self.files.remove(entry.name)

    def _place(self, name: str) -> str:
        """Part and number, e.g. `search 150`."""
        return f"{self.files.root.rpartition('/')[2]} {int(name[:8])}"

    def _newest_first(self) -> list[str]:
        return sorted((entry.name for entry in self.files.entries() if _NAME.fullmatch(entry.name)), reverse=True)


def _is_best(name: str) -> bool:
    found = _NAME.fullmatch(name)
    return found is not None and found[3] is not None
