"""The page of one partition, from small ledgers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from pipelines.errors import ConfigError
from pipelines.home import Home
from pipelines.ledger import Ledger
from pipelines.pages import partition
from pipelines.pages.partition_facts import partition_facts
from tests.pages import (
    HOSTILE,
    Seen,
    account,
    alpha_home,
    attempt,
    checked,
    decide,
    ledger_of,
    publish,
    release,
)

DAY = "2026-03-04"


def look(home: Home, key: str = DAY, may: bool = True, **query: str) -> Seen:
    return checked(partition.page(home, "alpha", key, lambda _: may, query))


def released(home: Home) -> Ledger:
    """Ten rows read: seven clean and scored, two refused, one a duplicate."""
    ledger = ledger_of(home)
    ledger.record_input("alpha", DAY, "2026-03-04.csv", "ab" * 32, 2048, 10)
    ledger.record_input("alpha", DAY, "2026-03-04.csv", "cd" * 32, 100, 3)
    for step in ("ingest", "validate", "deduplicate", "build_features", "score", "audit", "release"):
        attempt(ledger, DAY, step, "done", peak=512)
    publish(ledger, "raw", DAY, 10, sha256="ab" * 32)
    publish(ledger, "quarantine/validate", DAY, 2, rules=5, reasons={"amount_positive": 2}, warnings=["late file"])
    publish(ledger, "features", DAY, 7, features=["amount", "hour"], groups={})
    publish(ledger, "predictions", DAY, 7, model_version=2, is_hindsight=False)
    account(ledger, DAY, 10, 7, 2, 1)
    release(ledger, DAY)
    decide(ledger, "audit", DAY, "PASS", 2, numbers={"rows": 7})
    return ledger


def test_facts_of_a_released_partition(tmp_path: Path) -> None:
    home = alpha_home(tmp_path)
    released(home)
    one = partition_facts(home, "alpha", DAY)
    assert [(row["records"], row["feed"], row["is_current"]) for row in one["inputs"]] == [
        (10, "events", True),
        (3, "", False),  # a content that no table holds any more
    ]
    assert one["rules"] == {"count": 5, "failed": [("amount_positive", 2)], "refused": False}
    assert (one["warnings"], one["stopped"]) == (["late file"], None)
    assert one["scores"] == {"rows": 7, "model_version": 2, "is_hindsight": False, "is_published": True}
    assert one["features"]["names"] == ["amount", "hour"]
    assert [row["table_name"] for row in one["tables"]] == ["features", "predictions", "quarantine/validate", "raw"]
    assert {row["peak_rss_mib"] for row in one["attempts"]} == {512}


def test_row_accounting_is_shown_and_checked(tmp_path: Path) -> None:
    home = alpha_home(tmp_path)
    ledger = released(home)
    assert "10 read = 7 clean + 2 quarantined + 1 duplicate (it balances)" in look(home).text
    account(ledger, DAY, 10, 7, 2, 0)
    assert "(this does not balance)" in look(home).text


def test_files_of_a_release_come_from_its_manifest(tmp_path: Path) -> None:
    home = alpha_home(tmp_path)
    released(home)
    folder = home.root / "exports" / "alpha" / "_releases" / DAY / "r1"
    assert "Its manifest is not there" in look(home).text
    folder.mkdir(parents=True)
    file = {"name": "part-00000.parquet", "rows": 7, "bytes": 12_400, "sha256": "f00d"}
    (folder / "_manifest.json").write_text(json.dumps({"files": [file]}))
    text = look(home).text
    assert "part-00000.parquet 7 12.4 kB f00d" in text
    assert str(folder) in text


def test_scores_that_were_taken_back_are_not_called_released(tmp_path: Path) -> None:
    home = alpha_home(tmp_path)
    ledger = released(home)
    assert ledger.retract_release("alpha", DAY, "wrong currency (by anna)")
    publish(ledger, "predictions", DAY, 0, retracted="r1")
    seen = look(home)
    assert "retracted r1 , 7 rows" in seen.text
    assert "wrong currency (by anna)" in seen.text
    assert "Take these scores back" not in seen.text


def test_a_stopped_partition_begins_with_the_whole_error(tmp_path: Path) -> None:
    home = alpha_home(tmp_path)
    ledger = ledger_of(home)
    error = "E-SCHEMA-MISSING alpha 2026-03-04: column 'amount' is missing. " + "Fix the file. " * 60
    attempt(ledger, DAY, "ingest", "refused", error=error)
    text = look(home).text
    assert text.index("Stopped at ingest") < text.index("What came in")
    assert " ".join(error.split()) in text  # not cut
    assert "Run this partition again" in text


def test_a_repaired_error_does_not_stand_on_top(tmp_path: Path) -> None:
    home = alpha_home(tmp_path)
    ledger = ledger_of(home)
    attempt(ledger, DAY, "ingest", "failed", error="E-IO away")
    attempt(ledger, DAY, "ingest", "done")
    assert "Stopped at" not in look(home).text


def test_a_partition_that_never_ran_says_so_and_can_be_run(tmp_path: Path) -> None:
    home = alpha_home(tmp_path)
    ledger_of(home)
    seen = look(home)
    assert "This partition never ran" in seen.text
    assert f"/nightshift/actions/alpha/run?partition={DAY}" in seen.addresses


@pytest.mark.parametrize(
    ("name", "key"),
    [("alpha", "2026-3-4"), ("alpha", "../secrets"), ("nobody", DAY)],
    ids=["another spelling", "no date", "unknown pipeline"],
)
def test_what_is_no_partition_is_refused(tmp_path: Path, name: str, key: str) -> None:
    home = alpha_home(tmp_path)
    ledger_of(home)
    with pytest.raises(ConfigError, match="E-RUN-PARTITION"):
        partition_facts(home, name, key)


def test_a_pipeline_without_settings_is_still_shown_but_not_started(tmp_path: Path) -> None:
    home = alpha_home(tmp_path)
    released(home)
    (home.config / "pipelines" / "alpha.yaml").unlink()
    seen = look(home)
    assert "10 read" in seen.text
    assert not [address for address in seen.addresses if "/actions/" in address]


def test_neighbours_are_those_that_were_worked_on(tmp_path: Path) -> None:
    home = alpha_home(tmp_path)
    ledger = ledger_of(home)
    account(ledger, "2026-03-02", 1, 1, 0, 0)
    attempt(ledger, "2026-03-07", "ingest", "failed", error="E-IO away")
    one = partition_facts(home, "alpha", DAY)
    assert (one["before"], one["after"]) == ("2026-03-02", "2026-03-07")


def quarantined(home: Home, rows: int) -> None:
    reasons = [["amount_positive: amount must be above 0, got '-1'"]] * rows
    columns: dict[str, Any] = {
        "row_id": [f"f:{line:09}" for line in range(rows)],
        "source_file": ["2026-03-04.csv"] * rows,
        "source_line": list(range(2, rows + 2)),
        "stage": ["validate"] * rows,
        "reasons": reasons,
        "record": [f"Zoë,4929-1234,{line},<b>" for line in range(rows)],
        "partition": [DAY] * rows,
    }
    write_deltalake(home.table("alpha", "quarantine"), pa.table(columns), partition_by=["partition"])


def test_five_refused_rows_of_a_rule_are_shown_masked(tmp_path: Path) -> None:
    home = alpha_home(tmp_path)
    ledger = ledger_of(home)
    account(ledger, DAY, 10, 3, 7, 0)
    quarantined(home, 7)
    text = look(home).text
    assert "amount_positive : 7 rows, refused by validate" in text
    assert text.count("Xxx,9999-9999,9,<x>") == 5
    assert "Zoë" not in text
    assert "4929" not in text
    assert text.index("Values are masked on this page: x stands for a letter, 9 for a digit.") < text.index("Xxx,9999")
    assert f"nightshift quarantine alpha --partition {DAY} --show-values" in text


def test_columns_behind_a_drift_decision_are_the_loud_ones_by_importance() -> None:
    columns = {
        "quiet": {"grade": "quiet", "importance": 0.9},
        "small": {"grade": "watch", "importance": 0.1},
        "large": {"grade": "alarm", "importance": 0.5, "psi": 6.2},
    }
    decisions = [{"kind": "drift", "numbers": {"columns": columns}}, {"kind": "drift", "numbers": {}}]
    found = partition.drift(decisions)
    assert found is not None
    assert ([row["name"] for row in found["columns"]], found["quiet"], found["more"]) == (["large", "small"], 1, 0)


def test_values_never_become_markup(tmp_path: Path) -> None:
    home = alpha_home(tmp_path)
    ledger = ledger_of(home)
    ledger.record_input("alpha", DAY, HOSTILE, "ab" * 32, 1, 1)
    attempt(ledger, DAY, "ingest", "failed", error=HOSTILE)
    publish(ledger, "quarantine/validate", DAY, 1, rules=1, warnings=[HOSTILE])
    publish(ledger, "features", DAY, 1, features=[HOSTILE])
    numbers = {"columns": {HOSTILE: {"grade": HOSTILE, "importance": 0.1}}}
    decide(ledger, "drift", DAY, "WATCH", 1, reasons=[HOSTILE], numbers=numbers)
    release(ledger, DAY, release_id=HOSTILE)
    seen = look(home, started="run", run=HOSTILE)  # an address cannot bring words of its own either
    assert seen.text.count("onerror=alert(2)") >= 7
    assert not seen.all("img")


def test_who_may_not_start_dags_sees_no_button(tmp_path: Path) -> None:
    home = alpha_home(tmp_path)
    released(home)
    seen = look(home, may=False)
    assert "may look, but not start DAGs" in seen.text
    assert not [address for address in seen.addresses if "/actions/" in address]
