"""Everything that was found and chosen, before it becomes text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pipelines.init.choice import Choice
from pipelines.init.dialect import Dialect
from pipelines.init.infer import Declared
from pipelines.init.life import Life, Windows
from pipelines.init.roles import Key, Target
from pipelines.init.samples import Format


@dataclass(frozen=True)
class Draft:
    """`path` is written as it stands, for the reason `path_why`. `slicing`: how rows find their partition: 'names'
    (of files), 'time' (of rows) or 'dealt'."""

    name: str
    owner: str
    told: str
    row_count: int
    format: Format
    path: str
    path_why: str
    dialect: Dialect | None
    columns: tuple[Declared, ...]
    key: Key
    slicing: str
    time: Declared | None
    time_why: str
    life: Life
    target: Target | None
    label_delay_days: float
    windows: Windows | None
    choice: Choice
    optional: frozenset[str] = frozenset()
    volume: tuple[float, float, str] | None = None
    goes_on: bool = False
    remarks: tuple[str, ...] = field(default=())

    @property
    def required(self) -> tuple[str, ...]:
        """Columns that may not be null: what names a row, and when it was."""
        return tuple(dict.fromkeys([*self.key.columns, *([self.time.name] if self.time else [])]))

    @property
    def label(self) -> str | None:
        return self.target.column.name if self.target else None


def as_labelled(columns: Sequence[Declared], target: Target | None) -> tuple[Declared, ...]:
    """The columns with the label as a model needs it."""
    if target is None:
        return tuple(columns)
    return tuple(target.column if one.name == target.column.name else one for one in columns)
