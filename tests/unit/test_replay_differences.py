"""Each thing that differs between a version and its replay is named, and nothing else is."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest

from pipelines.training.provenance import determining, flat
from pipelines.training.replay_differences import (
    artifact_lines,
    changed,
    partition_lines,
    row_line,
    surrounding_lines,
)
from tests import builders

NAN = float("nan")
THEN = [("a", 1.0), ("b", None), ("c", NAN)]


def rows(*pairs: tuple[str, Any], **columns: list[Any]) -> pa.Table:
    names, values = zip(*pairs, strict=True)
    return pa.table({"row_id": list(names), "amount": pa.array(values, pa.float64()), **columns})


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (rows(("c", NAN), ("a", 1.0), ("b", 2.0)), "1 row changed (row b amount null -> 2.0)"),
        (
            rows(("a", 1.5), ("b", None), ("c", 3.0)),
            "2 rows changed (row a amount 1.0 -> 1.5; row c amount NaN -> 3.0)",
        ),
        (rows(("a", 1.0), ("b", None)), "1 row removed"),
        (rows(*THEN, ("d", 1.0), ("e", 1.0)), "2 rows added"),
        (rows(*THEN, extra=[1, 2, 3]), "column extra changed its type or is new or gone"),
    ],
    ids=["a null that became a value", "two values", "a row less", "two rows more", "a column more"],
)
def test_rows_that_differ_are_counted_and_shown(now: pa.Table, said: str) -> None:
    """Row b's null equals a null and row c's NaN a NaN, in whatever order the rows come."""
    assert row_line("2026-03-02", rows(*THEN), now) == f"input: partition 2026-03-02: {said}"


@pytest.mark.parametrize(
    ("keys", "values", "said"),
    [
        ((["x", "y"], ["y", "x"]), [2.5, 1.0], "1 row changed (row y|DE amount 2.0 -> 2.5)"),
        ((["x", "y"], ["x", "y"]), [1.0, 2.0], "the same rows, of a file that is another (other row ids)"),
        ((["x", "x"], ["x", "x"]), [1.0, 2.0], "2 rows added, 2 rows removed"),
    ],
    ids=["matched by key", "nothing but the file", "a key that is not unique"],
)
def test_rows_of_a_file_that_was_sent_again_are_matched_by_key(
    keys: tuple[list[str], list[str]], values: list[float], said: str
) -> None:
    """Each row id holds the digest of its file: one changed line changes them all."""
    then = rows(("f1:0", 1.0), ("f1:1", 2.0), order=keys[0], land=["DE", "DE"])
    now = rows(("f2:0", values[0]), ("f2:1", values[1]), order=keys[1], land=["DE", "DE"])
    assert row_line("2026-03-02", then, now, ["order", "land"]) == f"input: partition 2026-03-02: {said}"


def test_without_the_rows_of_then_only_the_digest_is_said_to_differ() -> None:
    assert row_line("2026-03-02", None, rows(*THEN)).startswith("input: the rows of partition 2026-03-02 have another")


def test_partitions_that_moved_came_or_went() -> None:
    then = {"training": ["01", "02"], "holdout": ["03"]}
    now = {"training": ["02", "00"], "holdout": ["01"]}
    assert partition_lines(then, now) == [
        "input: partition 00 unused -> training",
        "input: partition 01 training -> holdout",
        "input: partition 03 holdout -> unused",
    ]


@pytest.mark.parametrize(
    ("changes", "paths"),
    [
        ({"training": {"task": "binary", "seed": 7}}, ["training.seed"]),
        ({"gate": {"slices": ["country"]}}, ["gate.slices"]),
        ({"resources": {"train": {"cpus": 4}}}, ["resources.train.cpus"]),
        ({"features": {"columns": ["amount_eur"]}}, ["features.columns"]),
        ({"owner": "others", "schedule": None, "gate": {"floor": 0.9}, "resources": {"score": {"cpus": 4}}}, []),
    ],
    ids=["the seed", "columns that are carried", "threads", "a feature", "nothing that makes a model"],
)
def test_settings_that_make_a_model_are_compared_by_path(changes: dict[str, Any], paths: list[str]) -> None:
    lines = changed(determining(builders.pipeline()), determining(builders.pipeline(**changes)))
    assert [line.split(" ")[0] for line in lines] == paths


def test_a_setting_that_is_new_or_gone_is_absent_on_one_side() -> None:
    assert changed({"a": 1}, {"b": "x" * 80}) == ["a 1 -> (absent)", f'b (absent) -> "{"x" * 56}...']


def test_blocks_in_lists_are_numbered_and_plain_lists_are_values() -> None:
    nested = {"groups": [{"name": "g", "windows": ["1h", "1d"]}, {"name": "h"}], "none": {}}
    assert dict(flat(nested)) == {
        "groups[0].name": "g",
        "groups[0].windows": ["1h", "1d"],
        "groups[1].name": "h",
        "none": {},
    }


def surroundings(**changes: Any) -> dict[str, Any]:
    same = {"python": "3.11.9", "machine": "Linux x86_64", "libraries": {"xgboost": "3.2.0"}, "lock": "aa"}
    return same | {"code": {"pipelines/models": "1"}, "feature_code": {"amount_shape": "1"}} | changes


@pytest.mark.parametrize(
    ("changes", "commits", "lines"),
    [
        ({}, ("c1", "c1"), []),
        ({"libraries": {"xgboost": "3.2.1"}}, ("c1", "c1"), ['library: xgboost "3.2.0" -> "3.2.1"']),
        ({"python": "3.12.1"}, ("c1", "c1"), ["python: 3.11.9 -> 3.12.1"]),
        ({"lock": "bb"}, ("c1", "c1"), ["lock: constraints.txt aa -> bb"]),
        ({"code": {"pipelines/models": "2"}}, ("c1", "c2"), ["code: pipelines/models (commit c1 -> c2)"]),
        ({"code": {"pipelines/models": "2"}}, ("c1", "c1"), ["code: pipelines/models (commit c1)"]),
        ({}, ("c1", "c2"), ["code: commit c1 -> c2, the files that make a model are the same"]),
        (
            {"feature_code": {"amount_shape": "2"}},
            ("c1", "c1"),
            ["feature code: amount_shape (the features were read as they were published)"],
        ),
    ],
    ids=["nothing", "library", "python", "lock", "commit and code", "work tree", "commit alone", "feature function"],
)
def test_what_a_replay_ran_on_is_compared(changes: dict[str, Any], commits: tuple[str, str], lines: list[str]) -> None:
    assert surrounding_lines(surroundings(), surroundings(**changes), commits) == lines


def test_files_of_a_model_are_compared_and_the_manifest_by_value() -> None:
    def manifest(rounds: int, digest: str) -> bytes:
        return json.dumps({"facts": {"rounds": rounds}, "files": {"model.ubj": digest}}).encode()

    then = {"model.json": manifest(8, "x"), "model.ubj": b"12345", "imputer_0.skops": b"1"}
    now = {"model.json": manifest(9, "y"), "model.ubj": b"1234", "imputer_1.skops": b"1"}
    assert list(artifact_lines(then, now)) == [
        "artifact: imputer_0.skops is gone",
        "artifact: imputer_1.skops is new",
        "artifact: model.json facts.rounds 8 -> 9",
        "artifact: model.ubj has other bytes (5 -> 4 bytes)",
    ]
    assert list(artifact_lines(then, then)) == []
