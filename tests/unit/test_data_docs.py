"""Data Docs stay below 5 MB, say what they cut, and lie beside the same results as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.validate.docs import MOST_BYTES, Verdict, fitting_page, index_page, write_page
from tests.builders import context, payments

FACTS = {"pipeline": "p", "partition": "2026-03-01", "suite": "p"}
VERDICT = Verdict(read=10, ingest_quarantined=0, quarantined=1, problems=(), warnings=())


def rule(number: int, status: str, samples: int, length: int, note: str = "") -> dict[str, Any]:
    shown = [{"row_id": f"r{one}", "values": "x" * length} for one in range(samples)]
    return {
        "rule_id": f"rule_{number:05d}",
        "text": "amount_eur must be at least 0",
        "type": "expect_column_values_to_be_between",
        "note": note,
        "severity": "critical",
        "status": status,
        "error": None,
        "observed": None,
        "count": samples,
        "percent": 1.0,
        "more": 0,
        "samples": shown,
    }


@pytest.mark.parametrize(
    ("rules", "cut", "kept", "examples"),
    [
        pytest.param([rule(n, "passed", 2, 100) for n in range(50)], "", 50, 100, id="all of it fits"),
        pytest.param(
            [rule(n, "quarantined", 20, 1_500) for n in range(200)],
            "only 3 examples per rule are shown",
            200,
            600,
            id="200 rules with 30 kB of examples each",
        ),
        pytest.param(
            [rule(n, "passed" if n % 100 else "failed", 3, 10, "n" * 1_500) for n in range(4_000)],
            "only rules that did not pass are shown, without examples",
            40,
            0,
            id="4000 rules with long notes",
        ),
        pytest.param(
            [rule(n, "failed", 0, 0, "n" * 1_500) for n in range(4_000)],
            "only the first rules that did not pass are shown, without examples",
            1_000,
            0,
            id="4000 rules with long notes that failed",
        ),
    ],
)
def test_page_holds_what_fits_and_says_what_it_cut(
    rules: list[dict[str, Any]], cut: str, kept: int, examples: int
) -> None:
    page = fitting_page(FACTS, VERDICT, rules)
    assert len(page.encode()) <= MOST_BYTES
    assert ("Cut:" in page, cut in page) == (bool(cut), True)
    assert page.count('<section class="box">') == kept
    assert page.count("<code>r") - page.count("<code>rule_") == examples
    assert f"{len(rules)} rules of suite p" in page


def test_results_lie_beside_the_page_as_data(tmp_path: Path) -> None:
    run = context(tmp_path)
    write_page(run, "payments", VERDICT, [], payments([]))
    found = json.loads((tmp_path / "reports" / "payments" / "data_docs" / "2026-03-01.json").read_text())
    assert found == {
        **{"pipeline": "payments", "partition": "2026-03-01", "suite": "payments"},
        **{"read": 10, "ingest_quarantined": 0, "quarantined": 1, "passed": 9, "refused": False},
        **{"problems": [], "warnings": [], "rules": []},
    }


def test_index_lists_the_newest_thousand_and_counts_the_rest() -> None:
    facts = {"refused": False, "read": 5, "quarantined": 0, "ingest_quarantined": 0, "warnings": ["w" * 20_000]}
    page = index_page("p", [facts | {"partition": f"key{number}"} for number in range(1_200, 0, -1)])
    assert len(page.encode()) <= MOST_BYTES
    assert ("key1200.html" in page, "key201.html" in page, "key200.html" in page) == (True, True, False)
    assert "200 earlier ones are left out here" in page
