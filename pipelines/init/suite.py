"""The suite: what `nightshift suggest` proposes, from the partitions of the sample instead of accepted nights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa

from pipelines.init.infer import Declared
from pipelines.init.life import Life
from pipelines.init.rows import Rows
from pipelines.init.suspects import typed_sample
from pipelines.partitions import parse_partition
from pipelines.validate.anomaly import Past
from pipelines.validate.profile import profile
from pipelines.validate.profiles import season_of
from pipelines.validate.proposals import proposals
from pipelines.validate.suggest import LEAST_PARTITIONS, suggest, with_rules
from pipelines.validate.suites import load_suite

_MOST_PARTITIONS = 20
_MOST_ROWS = 20_000  # of a partition
_ROW_COUNT = "expect_table_row_count_to_be_between"


def suite_of(
    name: str, columns: Sequence[Declared], required: Sequence[str], parts: Sequence[tuple[str, pa.Table]], life: Life
) -> tuple[str, int]:
    """The suite's text and the number of its rules, all `warning`: nobody has read them yet.

    A rule that Great Expectations cannot judge would refuse every night, so such a rule is left out. `parts`: typed
    rows of some partitions, oldest first. Counts of rows are left to the standing check of volume.
    """
    history = [_past(key, rows, life) for key, rows in parts]
    measured = [one.name for one in columns if one.type == "number"]
    entries = _proven(name, history, required, measured) or _plain(history, required, measured)
    chosen = [entry for entry in entries if entry["type"] != _ROW_COUNT] or entries
    rows = pa.concat_tables([part for _, part in parts]).slice(0, _MOST_ROWS)
    judged = _judgeable(name, chosen, rows) or [entry for entry in entries if entry["type"] == _ROW_COUNT]
    return with_rules(None, name, judged), len(judged)


def _judgeable(name: str, entries: Sequence[dict[str, Any]], rows: pa.Table) -> list[dict[str, Any]]:
    from pipelines.validate.rules import run_suite

    with TemporaryDirectory(prefix="nightshift-init-") as folder:
        path = Path(folder) / f"{name}.json"
        path.write_text(with_rules(None, name, entries), encoding="utf-8")
        results = run_suite(load_suite(path, rows.column_names), rows)
    broken = {result.rule.rule_id for result in results if result.error is not None}
    return [entry for entry in entries if entry["meta"]["rule_id"] not in broken]


def _past(key: str, rows: pa.Table, life: Life) -> Past:
    partition = parse_partition(key, life.grain)
    return Past(key, season_of(partition), profile(rows, partition.start))


def _proven(
    name: str, history: Sequence[Past], required: Sequence[str], measured: Sequence[str]
) -> list[dict[str, Any]]:
    """Rules of the older partitions that are quiet on the later ones; none with too few partitions."""
    if len(history) < LEAST_PARTITIONS:
        return []
    found = suggest(name, history, [], required, measured)
    first, last, count = found.older
    note = f"of {count} partitions of the sample, {first} to {last}; quiet on the {found.later[2]} after them"
    return [
        _entry(one.entry["type"], one.entry["kwargs"], one.rule_id, f"{one.evidence}, {note}") for one in found.kept
    ]


def _plain(history: Sequence[Past], required: Sequence[str], measured: Sequence[str]) -> list[dict[str, Any]]:
    note = f"of all {len(history)} partitions of the sample"
    rules = {one.rule_id: one for one in proposals(history, required, measured)}
    return [_entry(one.type, one.kwargs, name, f"{one.evidence}, {note}") for name, one in rules.items()]


def _entry(kind: str, kwargs: dict[str, Any], rule_id: str, note: str) -> dict[str, Any]:
    return {"type": kind, "kwargs": kwargs, "severity": "warning", "meta": {"rule_id": rule_id, "note": note}}


def parts_by_key(columns: Sequence[Declared], rows: Rows, life: Life, partition: str) -> list[tuple[str, pa.Table]]:
    """Some partitions, evenly over the sample's life; `partition` is the SQL of a row's key. Of large ones a part."""
    step = max(1, len(life.keys) // _MOST_PARTITIONS)
    keys = life.keys[::step][:_MOST_PARTITIONS]
    places = ", ".join(f"c{number}" for number in range(len(rows.columns)))
    thin = f"AND hash({places}) % 1000000 < {1_000_000 * _MOST_ROWS / max(life.usual_rows, 1):.0f}"
    listed = ", ".join(f"'{key}'" for key in keys)
    query = f"SELECT {places}, {partition} AS key FROM cells WHERE {partition} IN ({listed})"
    found = rows.table(query + (f" {thin}" if life.usual_rows > _MOST_ROWS else "") + " ORDER BY key")
    texts = found["key"].to_pylist()
    sizes = {key: texts.count(key) for key in keys}
    starts = {key: texts.index(key) for key in keys if sizes[key]}
    return [(key, typed_sample(columns, rows, found.slice(start, sizes[key]))) for key, start in starts.items()]


def parts_of_sample(typed: pa.Table, life: Life) -> list[tuple[str, pa.Table]]:
    """The sample in as many parts as there are partitions, where rows have no time."""
    size = max(1, typed.num_rows // len(life.keys))
    parts = [(key, typed.slice(place * size, size)) for place, key in enumerate(life.keys)]
    return [(key, part) for key, part in parts if part.num_rows]
