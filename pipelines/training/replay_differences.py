"""Sentences about what is not as it was: settings, surroundings, rows, metrics, predictions, files of a model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.training.provenance import flat

_MOST_EXAMPLES = 3
_LONGEST = 60
_ABSENT = object()
_ROW = "_row"


def config_lines(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """`config: training.seed 1 -> 2`; both map a setting's path to its value."""
    return [f"config: {line}" for line in changed(then, now)]


def surrounding_lines(then: Mapping[str, Any], now: Mapping[str, Any], commits: tuple[str, str]) -> list[str]:
    """What the replay ran on that the training did not: Python, machine, libraries, lock, code."""
    lines = [f"{name}: {then[name]} -> {now[name]}" for name in ("python", "machine") if then[name] != now[name]]
    lines += [f"library: {line}" for line in changed(then["libraries"], now["libraries"])]
    if then["lock"] != now["lock"]:
        lines.append(f"lock: constraints.txt {then['lock']} -> {now['lock']}")
    if modules := _other_keys(then["code"], now["code"]):
        commit = f" (commit {commits[0]} -> {commits[1]})" if commits[0] != commits[1] else f" (commit {commits[0]})"
        lines.append(f"code: {', '.join(modules)}{commit}")
    elif commits[0] != commits[1]:
        lines.append(f"code: commit {commits[0]} -> {commits[1]}, the files that make a model are the same")
    if functions := _other_keys(then["feature_code"], now["feature_code"]):
        lines.append(f"feature code: {', '.join(functions)} (the features were read as they were published)")
    return lines


def changed(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """`name old -> new` for every name whose values differ, in order."""
    return [
        f"{name} {short(then.get(name, _ABSENT))} -> {short(now.get(name, _ABSENT))}" for name in _other_keys(then, now)
    ]


def partition_lines(then: Mapping[str, list[str]], now: Mapping[str, list[str]]) -> list[str]:
    """Partitions that are used otherwise; both map 'training' and 'holdout' to partitions."""
    sides = [{key: side for side, keys in used.items() for key in keys} for used in (then, now)]
    return [
        f"input: partition {key} {sides[0].get(key, 'unused')} -> {sides[1].get(key, 'unused')}"
        for key in _other_keys(*sides)
    ]


def row_line(partition: str, then: pa.Table | None, now: pa.Table, key: Sequence[str] = ()) -> str:
    """What differs between two tables of one partition; with None for `then` only that they differ.

    Rows are told apart by the business `key`: their ids change with any other row of the same file. Where it is not
    unique, or there is none, by their ids.
    """
    if then is None:
        return f"input: the rows of partition {partition} have another digest (the rows of then are not kept)"
    counts, examples = _row_differences(*_identified(then, now, key))
    told = f" ({'; '.join(examples)})" if examples else ""
    said = ", ".join(counts) or "the same rows, of a file that is another (other row ids)"
    return f"input: partition {partition}: {said}{told}"


def _identified(then: pa.Table, now: pa.Table, key: Sequence[str]) -> list[pa.Table]:
    """Both in the order of a column `_row`, which names each row once."""
    tables = [then, now]
    has_key = bool(key) and all(name in table.column_names for table in tables for name in key)
    keys = [table.append_column(_ROW, _joined(table, key)) for table in tables] if has_key else []
    if keys and all(pc.count_distinct(table[_ROW]).as_py() == table.num_rows for table in keys):
        tables = [table.drop_columns("row_id") for table in keys]
    else:
        tables = [table.rename_columns({"row_id": _ROW}) for table in tables]
    return [table.sort_by(_ROW) for table in tables]


def _joined(table: pa.Table, key: Sequence[str]) -> pa.ChunkedArray:
    texts = [table[name].cast(pa.string()) for name in key]
    return pc.binary_join_element_wise(*texts, "|", null_handling="replace", null_replacement="")


def _row_differences(then: pa.Table, now: pa.Table) -> tuple[list[str], list[str]]:
    added = now.filter(pc.invert(pc.is_in(now[_ROW], then[_ROW])))
    removed = then.filter(pc.invert(pc.is_in(then[_ROW], now[_ROW])))
    old = then.filter(pc.is_in(then[_ROW], now[_ROW]))
    new = now.filter(pc.is_in(now[_ROW], then[_ROW]))
    is_changed = np.zeros(old.num_rows, dtype=bool)
    examples: list[str] = []
    for column in [name for name in old.column_names if name in new.column_names]:
        differs = _differs(old[column], new[column])
        is_changed |= differs
        for index in np.flatnonzero(differs)[: _MOST_EXAMPLES - len(examples)]:
            values = (short(table[column][int(index)].as_py()) for table in (old, new))
            examples.append(f"row {old[_ROW][int(index)]} {column} {' -> '.join(values)}")
    columns = _other_keys(_types(then), _types(now))
    found = [(int(is_changed.sum()), "changed"), (added.num_rows, "added"), (removed.num_rows, "removed")]
    counts = [f"{count:,} row{'s' if count > 1 else ''} {word}" for count, word in found if count]
    return counts + [f"column {name} changed its type or is new or gone" for name in columns], examples


def _differs(old: pa.ChunkedArray, new: pa.ChunkedArray) -> np.ndarray:
    """`(n_rows,)`; nulls equal nulls and NaN equals NaN."""
    if old.type != new.type:
        return np.ones(len(old), dtype=bool)
    is_null = [pc.is_null(column, nan_is_null=True).to_numpy() for column in (old, new)]
    is_other = pc.fill_null(pc.not_equal(old, new), False).to_numpy()
    either, both = is_null[0] | is_null[1], is_null[0] & is_null[1]
    found: np.ndarray = np.where(either, ~both, is_other)
    return found


def _types(table: pa.Table) -> dict[str, str]:
    return {field.name: str(field.type) for field in table.schema}


def artifact_lines(then: Mapping[str, bytes], now: Mapping[str, bytes]) -> Iterator[str]:
    """Which files of a model differ; of the manifest each value."""
    for name in _other_keys(then, now):
        old, new = then.get(name), now.get(name)
        if old is None or new is None:
            yield f"artifact: {name} is {'new' if old is None else 'gone'}"
        elif name == "model.json":
            manifests = [dict(flat(json.loads(content))) for content in (old, new)]
            said = changed(*[{key: one for key, one in all_.items() if key[:6] != "files."} for all_ in manifests])
            yield from (f"artifact: model.json {line}" for line in said)
        else:
            yield f"artifact: {name} has other bytes ({len(old):,} -> {len(new):,} bytes)"


def short(value: Any) -> str:
    """JSON of a value, cut to 60 characters."""
    text = "(absent)" if value is _ABSENT else json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def _other_keys(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [key for key in sorted({*then, *now}) if then.get(key, _ABSENT) != now.get(key, _ABSENT)]
