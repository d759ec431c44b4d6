"""What the command line says about a sample; everything else is inferred or asked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

from pipelines.partitions import Grain


@dataclass(frozen=True)
class Given:
    """Columns may be named as the files spell them or as tables will. `deal`: over how many days rows without time are
    dealt. `today`: the day from which dealt days and the end of a feed are told."""

    files: tuple[Path, ...]
    today: date
    name: str | None = None
    owner: str = "unknown"
    label: str | None = None
    no_label: bool = False
    time: str | None = None
    key: tuple[str, ...] = ()
    no_key: bool = False
    task: str | None = None
    positive: str | None = None
    label_delay_days: float = 0.0
    deal: int | None = None
    combine: bool = False
    header: bool | None = None
    day_first: bool | None = None
    grain: Grain | None = None
    ignore: tuple[str, ...] = ()
