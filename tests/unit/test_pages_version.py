"""The pages of one model version and of two, from small ledgers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import ModelError
from pipelines.home import Home
from pipelines.pages import compare, version
from pipelines.pages.version_facts import version_facts
from tests.pages import (
    HOSTILE,
    Seen,
    alpha_home,
    attempt,
    checked,
    crown,
    decide,
    ledger_of,
    register,
    release,
)

RECORD: dict[str, Any] = {
    "estimator": "XGBoost",
    "features": {"amount": "number", "hour": "number"},
    "training_partitions": ["2026-03-01", "2026-03-02"],
    "holdout_partitions": ["2026-03-03"],
    "rows": {"train": 200, "holdout": 100},
    "digests": {"holdout": "h1", "train": "t1"},
    "tables": {"features": {"version": 24, "partitions": 3, "contents": "c0ffee"}},
    "row_digests": {"2026-03-01": "d1"},
    "parameters": {"max_depth": 4},
    "holdout_metrics": {"roc_auc": 0.9, "log_loss": 0.2},
    "importance": {"amount": 0.75, "hour": 0.25},
    "snapshot_id": "snap1",
    "code_version": "c0de",
    "seed": 7,
    "device": "cpu",
    "made_from": None,
}


def look(home: Home, number: int, may: bool = True) -> Seen:
    return checked(version.page(home, "alpha", number, lambda _: may, {}))


def check(name: str, passed: bool = True, **numbers: Any) -> dict[str, Any]:
    return {"name": name, "passed": passed, "text": f"{name} in words", "verdict": "HOLD", "numbers": numbers}


def judged(home: Home, *checks: dict[str, Any], outcome: str = "PROMOTE") -> None:
    """Version 2 against champion 1."""
    ledger = ledger_of(home)
    numbers = {"checks": list(checks), "metric": "roc_auc", "champion": 1, "alpha": 0.005, "tests_per_year": 100.0}
    decide(ledger, "gate", "2026-03-04", outcome, 2, reasons=["much better"], numbers=numbers)


def two_versions(home: Home, **second: Any) -> None:
    ledger = ledger_of(home)
    register(ledger, **RECORD)
    register(ledger, **(RECORD | second))
    crown(ledger, 1, "2026-03-01")


def test_each_reign_has_its_end_and_who_ended_it_stays(tmp_path: Path) -> None:
    """1, then 2, then 1 again: the page of 1 shows both of its reigns."""
    home = alpha_home(tmp_path)
    two_versions(home)
    crown(ledger_of(home), 2, "2026-03-05")
    crown(ledger_of(home), 1, "2026-03-08", "rollback", "2 was wrong")
    found = version_facts(home, "alpha", 1)
    assert [(row["from"].day, row["until"].day if row["until"] else None) for row in found["reigns"]] == [
        (1, 5),
        (8, None),
    ]
    assert [(version_facts(home, "alpha", one)["state"]) for one in (1, 2)] == ["champion", "former champion"]
    assert "2 was wrong" in look(home, 1).text


@pytest.mark.parametrize(
    ("outcome", "state"), [("HOLD", "held back"), ("REJECT", "rejected"), (None, "not judged")], ids=str
)
def test_a_version_that_never_was_champion_says_why(tmp_path: Path, outcome: str | None, state: str) -> None:
    home = alpha_home(tmp_path)
    two_versions(home)
    if outcome:
        judged(home, outcome=outcome)
    assert version_facts(home, "alpha", 2)["state"] == state
    assert "It never was the champion" in look(home, 2).text


def test_what_the_gate_measured_is_drawn_and_told(tmp_path: Path) -> None:
    home = alpha_home(tmp_path)
    two_versions(home)
    gain: dict[str, Any] = {"gain": 0.12, "lower": 0.05, "upper": 0.2, "confidence": 0.995, "margin": 0.01}
    judged(home, check("champion", **gain), check("calibration", passed=False))
    seen = look(home, 2)
    drawings = [str(one["aria-label"]) for one in seen.all("svg")]
    assert drawings == ["Gain in roc_auc: over the champion (99.5 %) 0.12 (0.05 to 0.2); dashed: must exceed 0.01"]
    assert "0.5 false promotions a year at most" in seen.text
    assert "champion yes champion in words calibration no calibration in words" in seen.text


@pytest.mark.parametrize(("metric", "change"), [("roc_auc", "-0.1 (-0.198 to -0.002)"), ("log_loss", "0.1 (0.002 to")])
def test_a_slice_that_got_worse_lies_to_the_left(metric: str, change: str) -> None:
    """0.7 after 0.8 is a loss in roc_auc and a gain in log_loss."""
    numbers: dict[str, Any] = {
        "rows": 50,
        "champion": 0.8,
        "challenger": 0.7,
        "standard_error": 0.05,
        "allowed_loss": 0.02,
    }
    drawn = version.slices([check("slice channel=pos", **numbers), check("champion")], metric)
    assert f"channel=pos (50) {change}" in drawn
    assert "dashed: allowed loss -0.02" in drawn


def test_nothing_measured_draws_nothing() -> None:
    assert (version.gains([check("rows", rows=3)], "f1"), version.slices([], "f1")) == ("", "")


def test_lineage_leads_to_partitions_tables_and_parent(tmp_path: Path) -> None:
    home = alpha_home(tmp_path)
    two_versions(home, warm_start={"parent": {"version": 1, "sha256": "5ha" * 6}, "in_a_row": 2})
    seen = look(home, 2)
    assert "/nightshift/partition/alpha/2026-03-02" in seen.addresses
    assert "/nightshift/version/alpha/1" in seen.addresses
    for fact in ("features 24 3 c0ffee", "snap1", "2026-03-01 d1", "max_depth=4", "c0de", "version 1 , 2 in a row"):
        assert fact in seen.text


def test_a_record_of_an_earlier_release_is_shown_as_far_as_it_goes(tmp_path: Path) -> None:
    home = alpha_home(tmp_path)
    register(ledger_of(home))
    assert "not recorded" in look(home, 1).text


def test_replays_of_this_version_alone_with_what_differed(tmp_path: Path) -> None:
    home = alpha_home(tmp_path)
    two_versions(home)
    for number, verdict, lines in ((1, "equal", []), (2, "different", ["config: seed 1 -> 2"])):
        summary = {"version": number, "verdict": verdict, "differences": lines}
        attempt(ledger_of(home), "2026-03-04", "replay", "done", summary=summary, run_id=f"manual__{number}")
    assert [row["verdict"] for row in version_facts(home, "alpha", 2)["replays"]] == ["different"]
    assert "config: seed 1 -> 2" in look(home, 2).text


def test_scores_that_readers_see_are_counted(tmp_path: Path) -> None:
    home = alpha_home(tmp_path)
    two_versions(home)
    ledger = ledger_of(home)
    for key, number in (("2026-03-05", 2), ("2026-03-06", 2), ("2026-03-07", 1)):
        release(ledger, key, version=number, rows=10)
    ledger.retract_release("alpha", "2026-03-06", "wrong")
    assert "its scores of 1 partition (10 rows)" in look(home, 2).text


def test_only_an_earlier_champion_can_be_put_back(tmp_path: Path) -> None:
    home = alpha_home(tmp_path)
    two_versions(home)
    crown(ledger_of(home), 2, "2026-03-05")
    assert "/nightshift/actions/alpha/rollback?version=1" in look(home, 1).addresses
    assert not [address for address in look(home, 2).addresses if "rollback" in address]
    assert not [address for address in look(home, 1, may=False).addresses if "/actions/" in address]


def test_without_settings_the_page_shows_what_the_ledger_knows(tmp_path: Path) -> None:
    home = alpha_home(tmp_path)
    two_versions(home)
    judged(home, check("rows"))
    (home.config / "pipelines" / "alpha.yaml").unlink()
    seen = look(home, 2)
    assert "'alpha' is not configured any more" in seen.text
    assert "rows in words" in seen.text
    assert not [address for address in seen.addresses if "/actions/" in address]


def test_an_unknown_version_is_refused(tmp_path: Path) -> None:
    home = alpha_home(tmp_path)
    ledger_of(home)
    with pytest.raises(ModelError, match="version 9 was never registered"):
        version_facts(home, "alpha", 9)


def test_values_never_become_markup(tmp_path: Path) -> None:
    home = alpha_home(tmp_path)
    two_versions(home, features={HOSTILE: "number"}, importance={HOSTILE: 1.0}, parameters={HOSTILE: HOSTILE})
    crown(ledger_of(home), 2, "2026-03-05", reason=HOSTILE)
    judged(home, check(HOSTILE, gain=0.1, lower=0.0, upper=0.2, metric=HOSTILE))
    for seen in (look(home, 2), checked(compare.page(home, "alpha", 1, 2))):
        assert "onerror=alert(2)" in seen.text
        assert not seen.all("img")


# -- two versions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "champion", "asked", "expected"),
    [
        ([3, 2, 1], 1, (None, None), (1, 3)),
        ([3, 2, 1], 3, (None, None), (2, 3)),
        ([3, 2, 1], 1, (3, None), (3, 2)),
        ([3, 2, 1], 1, (None, 1), (3, 1)),
        ([3, 2, 1], 1, (2, 2), None),
        ([1], 1, (None, None), None),
        ([], None, (None, None), None),
    ],
    ids=["champion and newest", "the newest is champion", "left", "right", "twice the same", "only one", "none"],
)
def test_which_two_are_compared(
    known: list[int], champion: int | None, asked: tuple[int | None, int | None], expected: tuple[int, int] | None
) -> None:
    assert compare.pair(known, champion, *asked) == expected


@pytest.mark.parametrize(
    ("holdout", "said"), [("h1", "roc_auc 0.9 0.95 0.05 version 2"), ("h2", "roc_auc 0.9 0.95 0.05 cannot be said")]
)
def test_who_is_better_is_said_for_the_same_rows_only(tmp_path: Path, holdout: str, said: str) -> None:
    home = alpha_home(tmp_path)
    metrics = {"roc_auc": 0.95, "log_loss": 0.3}
    two_versions(home, holdout_metrics=metrics, digests={"holdout": holdout, "train": "t2"})
    assert said in checked(compare.page(home, "alpha", 1, 2)).text


def test_what_differs_is_told(tmp_path: Path) -> None:
    home = alpha_home(tmp_path)
    changed = {"features": {"amount": "number", "limit": "number"}, "importance": {"amount": 0.4, "limit": 0.6}}
    two_versions(home, **changed, parameters={"max_depth": 6})
    judged(home, outcome="HOLD")
    text = checked(compare.page(home, "alpha", 1, 2)).text
    assert "1 in both. Only in version 1: hour. Only in version 2: limit." in text
    assert "max_depth" in text
    assert "amount 75.0 % 40.0 % limit not used 60.0 % hour 25.0 % not used" in text
    assert "never judged HOLD at 2026-03-04 : much better" in text


def test_without_two_versions_the_page_says_so(tmp_path: Path) -> None:
    home = alpha_home(tmp_path)
    register(ledger_of(home), **RECORD)
    assert "There is one version: nothing to compare" in checked(compare.page(home, "alpha", None, None)).text
