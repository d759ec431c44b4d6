"""The report for people: Evidently's HTML on a bounded sample. Decisions never depend on it."""

from __future__ import annotations

import html
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.monitoring.verdict import PartitionVerdict
from pipelines.storage.files import Files

if TYPE_CHECKING:
    import pandas as pd

MOST_BYTES = 5_000_000
MOST_COLUMNS = 30
MOST_VALUES = 40  # of a category; Evidently draws each value as a bar of its own
OTHERS = "(other values)"
_FRAME_BYTES = 3_700_000  # of Evidently's scripts, whatever is drawn (0.7.23)
_HEADING_BYTES = 100_000
_MOST_NAMED = 50
_LONGEST = 1_000  # characters of a reason or a note


@dataclass(frozen=True)
class ReportText:
    """What stands above Evidently's charts."""

    title: str
    outcome: str
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    digest: str


def is_current(files: Files, name: str, digest: str) -> bool:
    """Whether the file holds the report of just these inputs."""
    content = files.read(name)
    return content is not None and _mark(digest).encode() in content[:200]


def write_report(
    files: Files,
    name: str,
    text: ReportText,
    verdict: PartitionVerdict,
    kinds: dict[str, str],
    current: pd.DataFrame,
    reference: pd.DataFrame,
) -> list[str]:
    """Writes the HTML (at most 5 MB) in one step and returns what it had to leave out, as sentences.

    Columns without a value on either side, and those that Evidently refuses, are named above the charts: one of them
    would otherwise stop the whole report. So are columns for which there is no room, and categories of which only the
    most frequent values are drawn. The numbers of all columns and values lie beside it as Parquet.
    """
    ordered = [one.column for one in verdict.columns if one.column in kinds]
    empty = [name for name in ordered if not _has_values(current, name) or not _has_values(reference, name)]
    columns = [name for name in ordered if name not in empty]
    notes = [*text.notes, *_listed("No value in this partition or in the reference", empty)]
    limits = {one.column: float(one.measures["psi_retrain"]) for one in verdict.columns}
    crowded = [
        name for name in columns[:MOST_COLUMNS] if kinds[name] == "category" and _values(reference, name) > MOST_VALUES
    ]
    current, reference = _without_rare(current, reference, crowded)
    body, drawn, refused = _render_most(columns, kinds, limits, current, reference)
    notes += _listed("Evidently could not draw", refused)
    cut = [name for name in columns if name not in drawn and name not in refused]
    notes += _listed(f"Only the {len(drawn)} most important columns are drawn, not", cut)
    notes += _listed(f"Of these the {MOST_VALUES} most frequent values are drawn, all others as one", crowded)
    files.write(name, _page(text, notes, body).encode())
    return notes


def write_empty_report(files: Files, name: str, text: ReportText) -> None:
    """A page that says why there is nothing to draw."""
    page = _page(text, list(text.notes), "<html><head><meta charset='utf-8'></head><body></body></html>")
    files.write(name, page.encode())


def _render_most(
    columns: list[str],
    kinds: dict[str, str],
    limits: dict[str, float],
    current: pd.DataFrame,
    reference: pd.DataFrame,
) -> tuple[str, list[str], list[str]]:
    """HTML of as many columns as Evidently draws within the size limit; names of these, and of those it refused."""
    chosen, refused = columns[:MOST_COLUMNS], []
    while chosen:
        try:
            body = _render(chosen, kinds, limits, current, reference)
        except (OSError, MemoryError):
            raise
        except Exception:
            # Evidently raises many types for odd columns and then draws none, so the odd ones are found one by one.
            refused = [name for name in chosen if not _renders(name, kinds, limits, current, reference)]
            if not refused:
                raise
            chosen = [name for name in chosen if name not in refused]
            continue
        size, room = len(body.encode()), MOST_BYTES - _HEADING_BYTES
        if size <= room:
            return body, chosen, refused
        fitting = int(len(chosen) * (room - _FRAME_BYTES) / max(size - _FRAME_BYTES, 1))
        chosen = chosen[: min(fitting, len(chosen) - 1)]
    return "<html><head><meta charset='utf-8'></head><body></body></html>", [], refused


def _values(frame: pd.DataFrame, name: str) -> int:
    return int(frame[name].nunique())


def _without_rare(
    current: pd.DataFrame, reference: pd.DataFrame, columns: Sequence[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both with one value for all but the reference's most frequent ones of these columns; nulls stay nulls."""
    kept = {name: set(reference[name].value_counts().index[:MOST_VALUES]) for name in columns}

    def short(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(
            **{
                name: frame[name].astype("object").where(frame[name].isin(kept[name]) | frame[name].isna(), OTHERS)
                for name in columns
            }
        )

    return short(current), short(reference)


def _renders(
    name: str, kinds: dict[str, str], limits: dict[str, float], current: pd.DataFrame, reference: pd.DataFrame
) -> bool:
    try:
        _render([name], kinds, limits, current, reference)
    except Exception:
        return False
    return True


def _render(
    columns: Sequence[str],
    kinds: dict[str, str],
    limits: dict[str, float],
    current: pd.DataFrame,
    reference: pd.DataFrame,
) -> str:
    """Drift of these columns, by PSI with this pipeline's own limits; PSI on the sample differs a little from ours."""
    os.environ.setdefault("DO_NOT_TRACK", "1")
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    definition = DataDefinition(
        numerical_columns=[name for name in columns if kinds[name] == "number"],
        categorical_columns=[name for name in columns if kinds[name] == "category"],
    )
    preset = DataDriftPreset(
        columns=list(columns),
        num_method="psi",
        cat_method="psi",
        per_column_threshold={name: limits[name] for name in columns},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frames = [
            Dataset.from_pandas(_typed(frame, columns, kinds), data_definition=definition)
            for frame in (current, reference)
        ]
        return str(Report([preset]).run(frames[0], frames[1]).get_html_str(as_iframe=False))


def _typed(frame: pd.DataFrame, columns: Sequence[str], kinds: dict[str, str]) -> pd.DataFrame:
    """Numbers as float64 and categories as plain text, the same type on both sides; infinities as missing."""
    import numpy as np

    typed: dict[str, Any] = {}
    for name in columns:
        if kinds[name] == "number":
            typed[name] = frame[name].astype("float64").replace([np.inf, -np.inf], np.nan)
        else:
            typed[name] = frame[name].astype("object")
    return frame[[]].assign(**typed)


def _has_values(frame: pd.DataFrame, name: str) -> bool:
    """Whether a row holds a value that can be drawn; infinities cannot."""
    import numpy as np

    return name in frame.columns and bool(frame[name].replace([np.inf, -np.inf], np.nan).notna().any())


def _listed(what: str, names: Sequence[str]) -> list[str]:
    rest = len(names) - _MOST_NAMED
    more = f" and {rest} more" if rest > 0 else ""
    return [f"{what}: {', '.join(names[:_MOST_NAMED])}{more}."] if names else []


def _page(text: ReportText, notes: Sequence[str], body: str) -> str:
    """Evidently's page with a heading of our own; the mark on the first line tells from which inputs it was made."""
    rest = len(text.reasons) - _MOST_NAMED
    told = [*text.reasons[:_MOST_NAMED], *([f"and {rest} more, all of them in the ledger"] if rest > 0 else [])]
    reasons = "".join(f"<li>{html.escape(_cut(reason))}</li>" for reason in told)
    remarks = "".join(f"<p>{html.escape(_cut(note))}</p>" for note in notes)
    heading = (
        "<div style='font:16px/1.5 system-ui,sans-serif;max-width:70em;margin:1.5em auto;padding:0 1em'>"
        "<p><a href='../../index.html'>the morning report</a></p>"
        f"<h1 style='font-size:1.4em'>{html.escape(text.title)}: {html.escape(text.outcome)}</h1>"
        f"<ul>{reasons}</ul>{remarks}</div>"
    )
    page = body.replace("<body>", f"<body>{heading}", 1)
    return _mark(text.digest) + "\n" + (page if heading in page else heading + body)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _mark(digest: str) -> str:
    return f"<!-- nightshift {digest} -->"
