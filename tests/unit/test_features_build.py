"""The step `build_features`: what it publishes, when it does it again, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipelines.context import Context
from pipelines.errors import ConfigError, DataError
from pipelines.features import build_features
from pipelines.ingest.columns import table_schema
from tests.builders import context, payments, put, utc
from tests.unit.test_features_names import CARDS, COUNT, group

DAY = "2026-03-02"
LAST = {"kind": "window", "column": "amount_eur", "statistics": ["last"], "windows": ["24h"]}
JOIN = {"kind": "join", "dimension": "cards", "columns": ["limit_eur", "card_type"]}
SUFFIX = {"kind": "function", "module": "own", "function": "made", "columns": ["doubled"]}


def row(row_id: str, at: str, amount: float | None = 1.0, card: str = "c1", **more: Any) -> dict[str, Any]:
    return {
        "row_id": row_id,
        "payment_id": f"p-{row_id}",
        "card_id": card,
        "paid_at": utc(at),
        "amount_eur": amount,
    } | more


def run_for(tmp_path: Path, *features: dict[str, Any], partition: str = DAY, **changes: Any) -> Context:
    groups = {"groups": [group(*features)]} if features else {"columns": ["amount_eur", "country"]}
    return context(tmp_path, partition=partition, **({"features": groups} | changes))


def day(run: Context, *rows: dict[str, Any]) -> None:
    put(run, "clean", payments(list(rows), partition=run.key))


def earlier(run: Context, key: str) -> Context:
    return replace(run, partition=run.pipeline.parse(key))


def made(run: Context, *columns: str) -> list[tuple[Any, ...]]:
    """The published features in stored order."""
    rows = run.snapshot("features").read([run.key]).to_pylist()
    return [tuple(entry[name] for name in columns) for entry in rows]


def test_passthrough_columns_and_schema(tmp_path: Path) -> None:
    run = run_for(tmp_path)
    day(run, row("b", "2026-03-02T11:00:00", country="DE"), row("a", "2026-03-02T10:00:00", None))
    summary = build_features(run)
    assert summary["state"] == "done"
    assert (summary["rows"], summary["features"], summary["groups"]) == (2, 2, {})
    table = run.snapshot("features").read([DAY])
    assert {field.name: str(field.type) for field in table.schema} == {
        "row_id": "string",
        "payment_id": "string",
        "paid_at": "timestamp[us, tz=UTC]",
        "amount_eur": "double",
        "country": "string",
        "partition": "string",
    }
    assert made(run, "row_id", "amount_eur", "country") == [("a", None, None), ("b", 1.0, "DE")]


def test_windows_reach_into_earlier_partitions_and_only_this_one_is_published(tmp_path: Path) -> None:
    run = run_for(tmp_path, COUNT, LAST)
    day(earlier(run, "2026-03-01"), row("y", "2026-03-01T09:00:00", 5.0), row("z", "2026-03-01T10:00:00", 7.0))
    day(run, row("a", "2026-03-02T09:30:00", 9.0), row("b", "2026-03-02T09:30:00", card="c2"))
    build_features(run)
    assert made(run, "row_id", "count_24h", "amount_eur_last_24h") == [("a", 1.0, 7.0), ("b", 0.0, None)]


def test_corrected_row_counts_beside_its_correction(tmp_path: Path) -> None:
    run = run_for(tmp_path, COUNT)
    sent = row("y", "2026-03-01T10:00:00", payment_id="p1")
    day(earlier(run, "2026-03-01"), sent)
    day(run, row("a", "2026-03-01T11:00:00", payment_id="p1"), row("b", "2026-03-02T09:00:00"))
    build_features(run)
    assert made(run, "row_id", "count_24h") == [("a", 1.0), ("b", 2.0)]


def test_ratio_is_null_over_nothing_and_zero_and_may_use_an_earlier_feature(tmp_path: Path) -> None:
    ratio = {"kind": "ratio", "name": "to_last", "numerator": "amount_eur", "denominator": "amount_eur_last_24h"}
    run = run_for(tmp_path, LAST, ratio)
    times = ["2026-03-02T10:00:00", "2026-03-02T11:00:00", "2026-03-02T12:00:00"]
    day(run, row("a", times[0], 4.0), row("b", times[1], 0.0), row("c", times[2], 3.0))
    build_features(run)
    assert made(run, "row_id", "to_last") == [("a", None), ("b", 0.0), ("c", None)]


def test_boolean_is_a_number_and_whole_numbers_are_floats(tmp_path: Path) -> None:
    source = context(tmp_path).pipeline.source.model_dump(exclude_none=True)
    source["columns"]["is_online"] = {"type": "boolean"}
    run = context(
        tmp_path,
        partition=DAY,
        source=source,
        label=None,
        training=None,
        features={"columns": ["is_online", "is_fraud"]},
    )
    rows = [row("a", "2026-03-02T10:00:00", is_online=True, is_fraud=3), row("b", "2026-03-02T10:00:00")]
    put(
        run, "clean", pa.Table.from_pylist([{"partition": DAY, **r} for r in rows], table_schema(run.pipeline, "clean"))
    )
    build_features(run)
    assert made(run, "is_online", "is_fraud") == [(1.0, 3.0), (None, None)]
    assert str(run.snapshot("features").schema().field("is_fraud").type) == "double"


def test_forward_fill_takes_the_last_known_value_before_the_row(tmp_path: Path) -> None:
    fill = {"strategy": "forward_fill", "entity": ["card_id"]}
    run = run_for(tmp_path, training={"task": "binary", "missing": {"amount_eur": fill}})
    day(earlier(run, "2026-03-01"), row("x", "2026-03-01T10:00:00", 5.0))
    day(
        run,
        row("a", "2026-03-02T10:00:00", None, country="DE"),
        row("b", "2026-03-02T11:00:00", 8.0),
        row("c", "2026-03-02T11:00:00", None),  # at the moment of b, which it does not see
        row("d", "2026-03-02T12:00:00", None),
        row("e", "2026-03-02T12:00:00", None, card="c2"),
    )
    build_features(run)
    assert made(run, "row_id", "amount_eur") == [("a", 5.0), ("b", 8.0), ("c", 5.0), ("d", 8.0), ("e", None)]
    assert made(run, "country")[:2] == [("DE",), (None,)]


def cards(run: Context, *rows: tuple[str | None, str | None, float, str]) -> None:
    entries = [
        {"row_id": f"d{n}", "card_id": card, "valid_from": utc(since) if since else None, "limit_eur": limit,
         "card_type": kind, "partition": run.key}
        for n, (card, since, limit, kind) in enumerate(rows)
    ]  # fmt: skip
    put(run, "dimension_cards", pa.Table.from_pylist(entries, table_schema(run.pipeline, "dimension_cards")))


def test_join_sees_the_terms_of_the_moment(tmp_path: Path) -> None:
    run = run_for(tmp_path, JOIN, dimensions={"cards": CARDS})
    cards(
        run,
        ("c1", "2026-03-02T10:00:00", 100.0, "basic"),
        ("c1", "2026-03-02T12:00:00", 900.0, "gold"),
        ("c9", "2026-03-02T00:00:00", 1.0, "basic"),
        (None, "2026-03-02T00:00:00", 1.0, "no card"),
        ("c1", None, 1.0, "no start"),
    )
    day(
        run,
        row("a", "2026-03-02T09:59:59.999999"),  # before the first row of the card
        row("b", "2026-03-02T10:00:00"),  # valid from is included
        row("c", "2026-03-02T11:59:59.999999"),
        row("d", "2026-03-02T12:00:00"),  # the next row holds from its own moment on
        row("e", "2026-03-02T12:00:00", card="unknown"),
    )
    build_features(run)
    assert made(run, "row_id", "limit_eur", "card_type") == [
        ("a", None, None),
        ("b", 100.0, "basic"),
        ("c", 100.0, "basic"),
        ("d", 900.0, "gold"),
        ("e", None, None),
    ]


def test_join_takes_the_newest_snapshot_up_to_the_partition_and_none_of_later_days(tmp_path: Path) -> None:
    run = run_for(tmp_path, JOIN, dimensions={"cards": CARDS})
    for key, limit in [("2026-03-01", 100.0), ("2026-03-03", 900.0)]:
        cards(earlier(run, key), ("c1", "2026-03-01T00:00:00", limit, "basic"))
    day(run, row("a", "2026-03-02T10:00:00"))
    build_features(run)
    assert made(run, "limit_eur") == [(100.0,)]


def test_join_with_two_rows_of_one_key_and_moment_is_refused_with_the_key(tmp_path: Path) -> None:
    run = run_for(tmp_path, JOIN, dimensions={"cards": CARDS})
    cards(run, ("c7", "2026-03-01T00:00:00", 1.0, "x"), ("c7", "2026-03-01T00:00:00", 2.0, "x"))
    day(run, row("a", "2026-03-02T10:00:00"))
    with pytest.raises(
        DataError, match=r"E-FEATURE-JOIN .*'cards' must have one row per card_id and valid_from, .*'x9'"
    ):
        build_features(run)
    assert not run.snapshot("features").exists


def test_join_without_validity_needs_one_row_per_key(tmp_path: Path) -> None:
    run = run_for(tmp_path, JOIN, dimensions={"cards": CARDS | {"valid_from": None}})
    cards(run, ("c1", None, 1.0, "x"), ("c2", None, 2.0, "y"))
    day(run, row("a", "2026-03-02T10:00:00"))
    build_features(run)
    assert made(run, "limit_eur", "card_type") == [(1.0, "x")]
    cards(run, ("c1", None, 1.0, "x"), ("c1", None, 2.0, "y"))
    with pytest.raises(DataError, match="E-FEATURE-JOIN"):
        build_features(run)


@pytest.mark.parametrize(("missing", "state"), [("fail", None), ("skip", "done")])
def test_join_to_a_dimension_that_was_never_read(tmp_path: Path, missing: str, state: str | None) -> None:
    dimension = CARDS | {"source": CARDS["source"] | {"missing": missing}}  # type: ignore[operator]
    run = run_for(tmp_path, JOIN, dimensions={"cards": dimension})
    day(run, row("a", "2026-03-02T10:00:00"))
    if state is None:
        with pytest.raises(DataError, match="E-FEATURE-DIMENSION"):
            build_features(run)
    else:
        assert build_features(run)["state"] == state
        assert made(run, "limit_eur", "card_type") == [(None, None)]


def own_function(run: Context, tmp_path: Path, body: str) -> Context:
    folder = tmp_path / "config" / "features"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "own.py").write_text(f"import ibis\n\n\ndef made(table):\n    {body}\n")
    return replace(run, home=replace(run.home, config=tmp_path / "config"))


def test_function_adds_what_it_promised_and_cannot_change_the_rest(tmp_path: Path) -> None:
    run = run_for(tmp_path, COUNT, SUFFIX)
    run = own_function(
        run, tmp_path, "return table.mutate(doubled=table.amount_eur * 2, count_24h=table.count_24h + 9)"
    )
    day(run, row("a", "2026-03-02T10:00:00", 4.0))
    build_features(run)
    assert made(run, "count_24h", "doubled") == [(0.0, 8.0)]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param("return table", "lacks 'doubled'", id="promised-column-is-missing"),
        pytest.param("return table.mutate(doubled=1, extra=2)", "has 'extra' beside them", id="one-too-many"),
        pytest.param("return table.mutate(doubled=1).limit(1)", "got 1 rows", id="rows-dropped"),
        pytest.param(
            "return table.mutate(doubled=1).union(table.mutate(doubled=1))", "got 4 rows with 2", id="doubled"
        ),
        pytest.param(
            "return table.mutate(doubled=1, row_id=ibis.literal('x'))", "2 rows with 1 row ids", id="row-ids-changed"
        ),
        pytest.param(
            "return table.mutate(doubled=ibis.literal('x'))",
            "must be a number, got string",
            id="text-instead-of-number",
        ),
        pytest.param("return table.mutate(doubled=table.is_fraud)", "is_fraud", id="the-label-is-not-shown"),
        pytest.param("return 7", "must be an Ibis table, got int", id="not-a-table"),
    ],
)
def test_function_that_breaks_its_promise_is_refused(tmp_path: Path, body: str, expected: str) -> None:
    run = own_function(run_for(tmp_path, SUFFIX), tmp_path, body)
    day(run, row("a", "2026-03-02T10:00:00"), row("b", "2026-03-02T10:00:00"))
    with pytest.raises(DataError, match=f"E-FEATURE-FUNCTION .*{expected}"):
        build_features(run)
    assert not run.snapshot("features").exists


def test_function_whose_module_is_missing_is_a_config_error(tmp_path: Path) -> None:
    run = run_for(tmp_path, SUFFIX)
    day(run, row("a", "2026-03-02T10:00:00"))
    with pytest.raises(ConfigError, match="E-FEATURE-FUNCTION"):
        build_features(run)


def test_same_inputs_change_nothing_and_each_input_counts(tmp_path: Path) -> None:
    run = own_function(run_for(tmp_path, COUNT, SUFFIX), tmp_path, "return table.mutate(doubled=1)")
    day(earlier(run, "2026-03-01"), row("y", "2026-03-01T10:00:00"))
    day(run, row("a", "2026-03-02T09:00:00"))
    first = build_features(run)
    version = run.snapshot("features").version
    assert build_features(run) == first | {"state": "unchanged"}
    assert run.snapshot("features").version == version

    day(earlier(run, "2026-03-01"), row("y", "2026-03-01T10:00:00"), row("z", "2026-03-01T11:00:00"))  # late data
    assert (build_features(run)["state"], made(run, "count_24h")) == ("done", [(2.0,)])
    own_function(run, tmp_path, "return table.mutate(doubled=2)")
    assert (build_features(run)["state"], made(run, "doubled")) == ("done", [(2.0,)])


def test_day_outside_the_look_back_is_no_input(tmp_path: Path) -> None:
    run = run_for(tmp_path, features={"groups": [group(COUNT)], "lookback": "1d"}, partition="2026-03-05")
    day(run, row("a", "2026-03-05T09:00:00"))
    build_features(run)
    day(earlier(run, "2026-03-03"), row("y", "2026-03-03T10:00:00"))
    assert build_features(run)["state"] == "unchanged"
    day(earlier(run, "2026-03-06"), row("z", "2026-03-06T10:00:00"))
    assert build_features(run)["state"] == "unchanged"


def test_facts_say_what_was_read(tmp_path: Path) -> None:
    run = run_for(tmp_path, COUNT)
    day(run, row("a", "2026-03-02T09:00:00"))
    build_features(run)
    publication = run.ledger.publication(run.name, "features", DAY)
    assert publication is not None
    facts = publication["facts"]
    clean = run.content_digests("clean", [DAY])[DAY]
    assert facts["features"] == ["count_24h"]
    assert facts["lookback"] == ["2026-03-01", DAY]
    assert facts["inputs"] == {"clean": {"2026-03-01": None, DAY: clean}}
    assert (facts["clean_version"], facts["stale"]) == (run.snapshot("clean").version, False)


def test_absent_partition_is_skipped_and_an_unfinished_one_refused(tmp_path: Path) -> None:
    run = run_for(tmp_path)
    with pytest.raises(DataError, match="E-FEATURE-INPUT"):
        build_features(run)
    run.ledger.set_accounting(
        run.name, run.key, state="absent", read=0, clean=0, quarantined=0, duplicate=0, reason=None, run_id="r"
    )
    assert build_features(run)["state"] == "skipped"


def test_clean_partition_without_rows_gives_features_without_rows(tmp_path: Path) -> None:
    run = run_for(tmp_path, COUNT, LAST)
    day(run)
    assert build_features(run)["rows"] == 0


def test_row_id_that_stands_twice_in_clean_is_refused(tmp_path: Path) -> None:
    run = run_for(tmp_path, COUNT)
    day(run, row("a", "2026-03-02T09:00:00"), row("a", "2026-03-02T10:00:00"))
    with pytest.raises(DataError, match="E-FEATURE-ROWS"):
        build_features(run)
