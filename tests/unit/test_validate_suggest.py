"""Rules from accepted history: what is proposed, what a later day takes away, and how the file changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.errors import DataError
from pipelines.validate.anomaly import Past
from pipelines.validate.profile import profile
from pipelines.validate.proposals import proposals
from pipelines.validate.rules import run_suite
from pipelines.validate.suggest import difference, prove, suggest, with_rules
from pipelines.validate.suites import load_suite
from tests.builders import PAYMENTS, utc
from tests.validating import context, ingested, raw

START = utc("2026-03-01")


def day(number: int, **changes: list[Any]) -> pa.Table:
    columns: dict[str, list[Any]] = {
        "order_id": [f"A{number:02d}-{row}" for row in range(4)],
        "amount": [10.0 + number, 12.0, 14.5, 20.0],
        "country": ["DE", "FR", "DE", None],
        "sent": [1.0, 5.0, 3.0, 4.0 + number],
        "arrived": [2.0, 5.0, 6.0, 4.5 + number],
    }
    times = {"at": [START] * 4}  # no range of them holds on the next day
    return pa.table(columns | changes | times)


def past(number: int, table: pa.Table | None = None) -> Past:
    return Past(f"2026-03-{number + 1:02d}", None, profile(day(number) if table is None else table, START))


HISTORY = [past(number) for number in range(20)]


def kwargs_of(history: list[Past]) -> dict[str, dict[str, Any]]:
    return {one.rule_id: one.kwargs for one in proposals(history)}


def test_rules_say_what_the_history_shows_with_headroom() -> None:
    found = kwargs_of(HISTORY[:10])
    assert found["row_count"] == {"min_value": 2, "max_value": 8}
    assert found["order_id_given"] == {"column": "order_id"}
    assert found["country_given"] == {"column": "country", "mostly": 0.62}  # a quarter is missing, times 1.5
    assert found["country_known"] == {"column": "country", "value_set": ["DE", "FR"]}
    assert found["order_id_unique"] == {"column": "order_id"}
    assert found["order_id_length"] == {"column": "order_id", "min_value": 5, "max_value": 5}
    assert found["order_id_form"]["regex"] == r"^(?:[^\W\d_]+\d+\-\d+)$"
    assert found["amount_range"] == {"column": "amount", "min_value": 5.0, "max_value": 25.0}  # 10 to 20, half on top
    kept = {"or_equal": True, "ignore_row_if": "either_value_is_missing"}
    assert found["arrived_sent_order"] == {"column_A": "arrived", "column_B": "sent", **kept}
    assert "amount_sent_order" not in found
    assert [name for name in found if name.startswith("at_")] == ["at_given"]


def test_evidence_names_the_partitions() -> None:
    (found,) = [one for one in proposals(HISTORY[:10]) if one.rule_id == "amount_range"]
    assert found.evidence == "smallest 10 (2026-03-01) to 12 (2026-03-03), largest 20 (2026-03-01) to 20 (2026-03-01)"


def test_rule_that_a_later_accepted_day_breaks_is_dropped_and_says_so() -> None:
    later = past(17, day(17, country=["DE", "IT", "IT", None]))
    found = suggest("orders", [*HISTORY[:17], later, *HISTORY[18:]], [])
    (dropped,) = [one for one in found.dropped if one.rule_id == "country_known"]
    assert (dropped.broken, dropped.first) == (1, "2026-03-18")
    assert "country_known" not in {one.rule_id for one in found.kept}
    assert (found.older, found.later) == (("2026-03-01", "2026-03-14", 14), ("2026-03-15", "2026-03-20", 6))


def test_rule_of_the_suite_is_not_repeated_and_its_name_not_taken() -> None:
    there = [
        {"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "country"}, "meta": {"rule_id": "a"}},
        {"type": "expect_column_values_to_match_regex", "kwargs": {"column": "x"}, "meta": {"rule_id": "row_count"}},
    ]
    found = suggest("orders", HISTORY, there)
    assert found.known == ("country_known",)
    assert "row_count_2" in {one.rule_id for one in found.kept}


def test_too_little_history_is_an_error() -> None:
    with pytest.raises(DataError, match=r"E-SUGGEST-HISTORY orders: at least 10 accepted partitions are needed, got 9"):
        suggest("orders", HISTORY[:9], [])


def test_required_columns_get_no_rule_about_nulls() -> None:
    assert "order_id_given" not in {one.rule_id for one in suggest("orders", HISTORY, [], ["order_id"]).kept}


OLD = """{
  "name": "orders",
  "expectations": [
    {"type": "expect_column_to_exist", "kwargs": {"column": "amount"}, "meta": {"rule_id": "a", "note": "]"}}
  ]
}
"""


def test_file_keeps_what_it_had_byte_for_byte() -> None:
    entries = [one.entry for one in suggest("orders", HISTORY, []).kept]
    after = with_rules(OLD, "orders", entries)
    removed = [line for line in difference(OLD, after, "expectations/orders.json").splitlines() if line[:1] == "-"]
    assert len(json.loads(after)["expectations"]) == 1 + len(entries)
    assert len(removed) == 2  # the header, and the comma after the last entry


def test_suggested_suite_loads_and_is_quiet_on_its_days_but_not_on_a_bad_one(tmp_path: Path) -> None:
    text = with_rules(None, "orders", [one.entry for one in suggest("orders", HISTORY, []).kept])
    prove(text, "orders", day(0).column_names)
    path = tmp_path / "orders.json"
    path.write_text(text)
    suite = load_suite(path, day(0).column_names)
    assert [result.rule.rule_id for result in run_suite(suite, day(19)) if not result.success] == []
    bad = day(19, amount=[1000.0, 1200.0, 1450.0, 2000.0], country=["XX", "FR", "DE", None])
    failed = {result.rule.rule_id for result in run_suite(suite, bad) if not result.success}
    assert failed == {"amount_range", "amount_mean", "country_known"}


def _home(root: Path) -> tuple[Path, Path]:
    """A home with twelve accepted days of the payments pipeline, and its configuration folder without a suite."""
    for number in range(1, 13):
        run = context(root, [], partition=f"2026-03-{number:02d}")
        ingested(run, raw(run, [{"amount_eur": 10.0 + row} for row in range(6)]))
        run.ledger.set_accounting(
            run.name, run.key, state="clean", read=6, clean=6, quarantined=0, duplicate=0, reason=None, run_id="r"
        )
    (root / "config" / "pipelines").mkdir(parents=True)
    text = json.dumps(PAYMENTS | {"features": {"columns": ["amount_eur"]}})
    (root / "config" / "pipelines" / "payments.yaml").write_text(text)
    (root / "expectations" / "payments.json").write_text(
        with_rules(
            None,
            "payments",
            [{"type": "expect_column_to_exist", "kwargs": {"column": "card_id"}, "meta": {"rule_id": "a"}}],
        )
    )
    return root / "home", root / "expectations" / "payments.json"


def test_command_shows_a_diff_and_writes_only_when_asked(tmp_path: Path) -> None:
    home, path = _home(tmp_path)
    before = path.read_text()
    options = ["--home", str(home), "--config", str(tmp_path / "config")]
    shown = CliRunner().invoke(app, ["suggest", "payments", *options])
    assert shown.exit_code == 0, shown.output
    assert "+++ b/expectations/payments.json" in shown.output
    assert "amount_eur_range" in shown.output
    assert path.read_text() == before
    written = json.loads(CliRunner().invoke(app, ["suggest", "payments", "--write", "--json", *options]).stdout)
    assert written["written"]
    ids = [rule.rule_id for rule in load_suite(path, PAYMENTS["source"]["columns"]).rules]
    assert ids == ["a", *(one["rule_id"] for one in written["kept"])]
    again = json.loads(CliRunner().invoke(app, ["suggest", "payments", "--json", *options]).stdout)
    assert (again["kept"], again["diff"]) == ([], "")


def test_command_says_that_nothing_was_accepted_yet(tmp_path: Path) -> None:
    home, _ = _home(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    result = CliRunner().invoke(
        app, ["suggest", "payments", "--home", str(other), "--config", str(home.parent / "config")]
    )
    assert result.exit_code == 1
    assert "E-SUGGEST-HISTORY payments: at least 10 accepted partitions are needed, got 0" in result.output
