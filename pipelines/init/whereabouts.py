"""Where the nightly run finds what the sample shows: the path of the file, or of one file made of several."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import ConfigError
from pipelines.home import Home
from pipelines.init.given import Given
from pipelines.init.questions import Questions
from pipelines.init.rows import Rows
from pipelines.init.samples import Sample

_DATA = "NIGHTSHIFT_DATA"
_NAMING = "Give --combine or one file, or name them alike but for the date, with the year first: 2026-03-01.csv."


@dataclass(frozen=True)
class Whereabouts:
    """`path` as the YAML says it and `literal` without variables; `combined`: the file to be written, if any."""

    path: str
    literal: str
    why: str
    combined: Path | None = None


def whereabouts(given: Given, name: str, sample: Sample, home: Home, questions: Questions) -> Whereabouts:
    """The path that works at once on this machine.

    Raises:
        ConfigError: E-INIT-FILES when several files without dates may not be combined.
    """
    literal = sample.pattern or str(sample.files[0])
    if len(sample.files) > 1 and sample.pattern is None:
        question = (
            f"The names of these {len(sample.files)} files hold no date that tells its partition, like 2026-03-01, "
            "20260301, 01.03.2026 or 2026-03 (03-04-2026 reads both ways), so no night could find its file. "
            "Copy all rows into one file of the home?"
        )
        if not given.combine and not questions.agree("--combine", question):
            what = "the names of the files say no partition, and they may not be combined"
            raise ConfigError("E-INIT-FILES", sample.told, what, _NAMING)
        combined = home.root / "inbox" / f"{name}.parquet"
        why = f"a copy of {sample.told} in one file: their names say no partition"
        return Whereabouts(_below(combined, home.root, "NIGHTSHIFT_HOME"), str(combined), why, combined)
    data = os.environ.get(_DATA)
    if data and Path(literal).is_relative_to(Path(data).resolve()):
        return Whereabouts(
            _below(Path(literal), Path(data).resolve(), _DATA), literal, f"{_DATA} is set here; set it elsewhere, too"
        )
    if Path(literal).is_relative_to(home.root.resolve()):
        return Whereabouts(_below(Path(literal), home.root.resolve(), "NIGHTSHIFT_HOME"), literal, "in the home folder")
    return Whereabouts(
        literal, literal, "of this machine; on others write ${NIGHTSHIFT_DATA}/... and set that variable"
    )


def _below(path: Path, folder: Path, variable: str) -> str:
    return f"${{{variable}}}/{path.relative_to(folder).as_posix()}"


def combine(rows: Rows, target: Path) -> None:
    """All rows as one Parquet file with the columns' own names, file after file."""
    wanted = ", ".join(f"c{place} AS " + '"' + name.replace('"', '""') + '"' for place, name in enumerate(rows.columns))
    path = str(target).replace("'", "''")
    rows.connection.execute(f"COPY (SELECT {wanted} FROM cells ORDER BY file) TO '{path}' (FORMAT parquet)")
