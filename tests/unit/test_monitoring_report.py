"""The drift report for people: odd columns are named instead of stopping it, and a failure never fails the night."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipelines.monitoring import evidently_report, monitor
from pipelines.monitoring.column_verdict import ColumnVerdict
from pipelines.monitoring.evidently_report import MOST_BYTES, ReportText, is_current, write_report
from pipelines.monitoring.verdict import PartitionVerdict
from pipelines.storage.files import LocalFiles
from tests.unit.test_monitoring_step import FIRST, promote, publish_day

TEXT = ReportText("payments 2026-03-15", "WATCH", ("SHIFT 'a<b>' moved.",), (), "digest-1")
KINDS = {"amount": "number", "dead": "number", "constant": "number", "mostly_null": "number", "country": "category"}


def verdict(columns: list[str]) -> PartitionVerdict:
    ones = tuple(ColumnVerdict(name, "quiet", 0.2, True, (), {"psi_retrain": 0.25}) for name in columns)
    return PartitionVerdict("quiet", (), ones)


def frame(seed: int, rows: int = 200) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "amount": random.lognormal(size=rows),
            "dead": np.full(rows, np.nan),
            "constant": np.ones(rows),
            "mostly_null": np.where(random.random(rows) < 0.9, np.nan, 1.5),
            "country": random.choice(["AT", "DE"], rows),
        }
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "left_out"),
    [
        pytest.param({}, "dead", id="an all-null column is named"),
        pytest.param({"country": "new"}, "dead", id="a new category is drawn"),
        pytest.param({"amount": None}, "amount, dead", id="a column that died is named"),
        pytest.param({"amount": float("inf")}, "amount, dead", id="infinities alone are no values"),
    ],
)
def test_odd_columns_are_named_and_the_rest_is_drawn(tmp_path: Path, change: dict[str, Any], left_out: str) -> None:
    path = tmp_path / "drift" / "2026-03-15.html"
    notes = write_report(
        LocalFiles(path.parent), path.name, TEXT, verdict(sorted(KINDS)), KINDS, frame(1).assign(**change), frame(2)
    )
    assert notes == [f"No value in this partition or in the reference: {left_out}."]
    page = path.read_text()
    assert "a&lt;b&gt;" in page
    assert "country" in page
    assert len(page.encode()) <= MOST_BYTES


@pytest.mark.slow
def test_one_row_and_a_missing_column_still_make_a_report(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    current = frame(1, rows=1).drop(columns=["country"])
    notes = write_report(LocalFiles(path.parent), path.name, TEXT, verdict(sorted(KINDS)), KINDS, current, frame(2))
    assert "country" in notes[0]
    assert is_current(LocalFiles(path.parent), path.name, "digest-1")
    assert not is_current(LocalFiles(path.parent), path.name, "digest-2")


def test_only_odd_columns_make_a_page_that_says_so(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_report(LocalFiles(path.parent), path.name, TEXT, verdict(["dead"]), KINDS, frame(1), frame(2))
    assert "No value in this partition or in the reference: dead." in path.read_text()


def test_column_that_evidently_refuses_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses_constant(columns: list[str], *_rest: Any) -> str:
        if "constant" in columns:
            raise ValueError("odd column")
        return "<html><body>charts</body></html>"

    monkeypatch.setattr(evidently_report, "_render", refuses_constant)
    notes = write_report(
        LocalFiles(tmp_path), "r.html", TEXT, verdict(["amount", "constant"]), KINDS, frame(1), frame(2)
    )
    assert notes == ["Evidently could not draw: constant."]
    assert "charts" in (tmp_path / "r.html").read_text()


def test_report_that_fails_is_a_warning_and_leaves_no_half_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_inputs: Any) -> str:
        raise OSError(28, "No space left on device")

    settings: dict[str, Any] = {"monitor": {"report": "always", "cooldown_partitions": 0, "min_new_labels": 0}}
    for number in range(1, FIRST + 1):
        run = publish_day(tmp_path, number, **settings)
    promote(run)
    monkeypatch.setattr(evidently_report, "_render", broken)
    run = publish_day(tmp_path, FIRST + 1, **settings)
    summary = monitor(run)
    assert summary["decision"] == "OK"
    assert "No space left" in summary["warnings"][0]
    assert [path.suffix for path in (run.home.root / "reports" / run.name / "drift").iterdir()] == [".parquet"]


def test_what_has_no_room_is_named_and_the_file_stays_below_its_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """30 columns of 0.1 MB beside 3.7 MB of scripts are 6.7 MB; 12 of them leave 0.1 MB for the heading."""
    sizes: list[int] = []

    def draws(columns: list[str], *_rest: Any) -> str:
        sizes.append(len(columns))
        return "<html><body>" + "x" * (3_700_000 + 100_000 * len(columns) - 30) + "</body></html>"

    monkeypatch.setattr(evidently_report, "_render", draws)
    names = [f"c{number:02d}" for number in range(40)]
    rows = pd.DataFrame({name: [1.0] for name in names})
    reasons = tuple("y" * 5_000 for _ in range(3_000))
    text = ReportText("t", "WATCH", reasons, (), "digest-1")
    notes = write_report(
        LocalFiles(tmp_path), "r.html", text, verdict(names), dict.fromkeys(names, "number"), rows, rows
    )
    assert sizes == [30, 12]
    assert notes == [f"Only the 12 most important columns are drawn, not: {', '.join(names[12:])}."]
    assert len((tmp_path / "r.html").read_bytes()) <= MOST_BYTES
    assert "and 2950 more, all of them in the ledger" in (tmp_path / "r.html").read_text()


def test_rare_values_of_a_category_are_drawn_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[set[Any]] = []

    def draws(_columns: list[str], _kinds: Any, _limits: Any, current: pd.DataFrame, reference: pd.DataFrame) -> str:
        drawn.extend(set(frame["shop"]) for frame in (current, reference))
        return "<html><body>charts</body></html>"

    monkeypatch.setattr(evidently_report, "_render", draws)
    usual = [f"s{number:03d}" for number in range(41)]
    reference = pd.DataFrame({"shop": [*usual, *usual[:40]]})  # the last one is the rarest
    current = pd.DataFrame({"shop": ["s000", "s040", "new"]})
    notes = write_report(
        LocalFiles(tmp_path), "r.html", TEXT, verdict(["shop"]), {"shop": "category"}, current, reference
    )
    assert notes == ["Of these the 40 most frequent values are drawn, all others as one: shop."]
    assert drawn == [{"s000", "(other values)"}, {*usual[:40], "(other values)"}]
