from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from pipelines.report.charts import quality_curve, records_curve
from pipelines.report.page import notes, todo, write_page
from pipelines.report.story import story
from tests.builders import context


class Addresses(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.found += [value for name, value in attrs if name in ("href", "src") and value]


def told(tmp_path: Path) -> Path:
    run = context(tmp_path, partition="2026-03-02", name="card_payments")
    for partition, state, clean, quarantined in (("2026-03-01", "clean", 9, 1), ("2026-03-02", "refused", 0, 10)):
        run.ledger.set_accounting(
            run.name,
            partition,
            state=state,
            read=10,
            clean=clean,
            quarantined=quarantined,
            duplicate=0,
            reason=None,
            run_id="r",
        )
    attempt = run.ledger.start_attempt(run.name, "2026-03-02", "validate", "r", "c")
    run.ledger.end_attempt(attempt, "refused", None, "E-DQ-EMPTY <b>card_payments</b> 2026-03-02: no rows.", 1)
    run.ledger.record_decision(
        run.name,
        "gate",
        "2026-03-01",
        run_id="r",
        outcome="HOLD",
        model_version=2,
        reasons=["roc_auc 0.70 against 0.71"],
        numbers={"checks": [{"name": "champion", "passed": False, "text": "roc_auc 0.70 against 0.71"}]},
    )
    return Path(write_page(run.home))


def test_page_tells_the_refusal_and_the_gate(tmp_path: Path) -> None:
    index = told(tmp_path)
    page = (index.parent / "card_payments" / "index.html").read_text()
    assert "E-DQ-EMPTY &lt;b&gt;card_payments&lt;/b&gt;" in page  # a value from outside never becomes markup
    assert "HOLD" in page
    assert "roc_auc 0.70 against 0.71" in page
    assert "card_payments/index.html" in index.read_text()


def test_page_needs_no_network_and_no_script(tmp_path: Path) -> None:
    index = told(tmp_path)
    for path in (index, index.parent / "card_payments" / "index.html"):
        parser = Addresses()
        parser.feed(path.read_text())
        assert "script" not in parser.tags
        assert not [address for address in parser.found if "://" in address]


def test_same_ledger_gives_the_same_bytes(tmp_path: Path) -> None:
    index = told(tmp_path)
    page = index.parent / "card_payments" / "index.html"
    before = page.read_bytes()
    write_page(context(tmp_path, name="card_payments").home)
    assert page.read_bytes() == before


def test_page_of_an_empty_home_says_what_to_do(tmp_path: Path) -> None:
    assert "nightshift run NAME" in Path(write_page(context(tmp_path).home)).read_text()


@pytest.mark.parametrize(("reads", "points"), [([10], None), ([10, 5], "0.0,2.0 100.0,12.0")], ids=["one", "two"])
def test_records_run_from_old_to_new(reads: list[int], points: str | None) -> None:
    days = [
        {"partition": f"2026-03-0{day}", "read": read, "model": day if day > 1 else None}
        for day, read in enumerate(reads, start=1)
    ]
    found = records_curve({"partitions": days[::-1]})
    assert (found and found["points"]) == points
    if found:
        assert found["changes"] == [{"x": 100.0, "text": "version 2 scores from 2026-03-02", "version": 2}]


def test_quality_is_drawn_between_its_smallest_and_largest_value() -> None:
    def day(number: int, value: float | None, estimate: float, model: int) -> dict[str, Any]:
        realised = None if value is None else {"metric": "roc_auc", "value": value}
        numbers = {"realised": realised, "estimated": {"roc_auc": estimate}}
        return {"partition": f"2026-03-0{number}", "model": model, "drift_numbers": numbers}

    days = [day(1, 0.8, 0.9, 1), day(2, None, 0.85, 1), day(3, 0.7, 0.9, 2)]
    found = quality_curve({"partitions": days[::-1]})
    assert found is not None
    assert found["realised"] == "0.0,12.0 100.0,22.0"  # 0.8 lies half way between 0.7 and the estimate's 0.9
    assert found["estimated"] == "0.0,2.0 50.0,7.0 100.0,2.0"
    assert [change["version"] for change in found["changes"]] == [1, 2]
    assert quality_curve({"partitions": days[1:2]}) is None


def test_story_tells_what_was_out_of_the_ordinary_newest_first() -> None:
    quiet = {"error": None, "step": None, "state": "released", "release": "released", "release_reason": None}
    quiet |= {"repaired": None, "read": 100, "quarantined": 1}  # 1 of 100 is an ordinary night
    partitions = [
        quiet
        | {"partition": "2026-03-04", "drift": "OK", "drift_reasons": [], "quarantined": 2}
        | {"repaired": "E-SCHEMA-MISSING payments 2026-03-04: column 'amount' is missing. Fix the file."},
        quiet | {"partition": "2026-03-03", "drift": "RETRAIN", "drift_reasons": ["DEAD_COLUMN 'a'.", "VOTES 2."]},
        quiet
        | {"partition": "2026-03-02", "state": "refused", "step": "validate", "drift": None, "drift_reasons": []}
        | {"error": "E-DQ-EMPTY payments 2026-03-02: no rows. Send the file again."},
        quiet
        | {"partition": "2026-03-01", "drift": None, "drift_reasons": []}
        | {"release": "retracted", "release_reason": "wrong prices"},
    ]
    gates = [{"partition": "2026-03-03", "outcome": "HOLD", "version": 2, "reasons": ["not better"]}]
    gates = [gate | {"decided_at": "2026-05-01T10:00:00+00:00"} for gate in gates]
    gates.append(gates[0] | {"partition": "2026-03-01", "outcome": "PROMOTE", "version": 3, "reasons": ["better"]})
    started = {"partition": "2026-03-01", "outcome": "START", "version": 3, "reasons": ["version 3 scores beside"]}
    shadows = [started | {"decided_at": "2026-05-01T10:01:00+00:00"}]
    rollback = {"since": "2026-03-04T00:00:00+00:00", "action": "rollback", "version": 1, "actor": "anna"}
    rollback |= {"decided_at": "2026-05-01T11:00:00+00:00"}
    champions = [rollback | {"action": "promote", "reason": "first"}, rollback | {"reason": "scores too high"}]
    told = story({"partitions": partitions, "gates": gates, "shadows": shadows, "champions": champions})
    assert [(event["date"], event["kind"], event["text"]) for event in told] == [
        ("2026-03-04", "repaired", "had stopped, a later run went well: column 'amount' is missing. Fix the file."),
        ("2026-03-04", "quarantined", "2 of 100 rows, see 'checks' below"),
        ("2026-03-03", "rollback", "version 1 is back (anna): scores too high"),
        ("2026-03-03", "HOLD", "version 2 was held back, the champion stays: not better"),
        ("2026-03-03", "RETRAIN", "DEAD_COLUMN 'a'. (1 more reason below)"),
        ("2026-03-02", "refused", "stopped at validate: no rows. Send the file again."),
        ("2026-03-01", "shadow START", "version 3 scores beside"),
        ("2026-03-01", "PROMOTE", "version 3 passed the gate: better"),
        ("2026-03-01", "retracted", "scores withdrawn: wrong prices"),
    ]


def test_todo_names_stale_partitions_with_the_command() -> None:
    one = {
        "pipeline": "p",
        "partitions": [
            {"partition": day, "error": None, "step": None, "is_stale": True} for day in ("2026-03-03", "2026-03-02")
        ],
        "retrains": [],
        "champion": {"version": 1},
    }
    assert todo(one) == [
        "2 partition(s) were built from inputs that changed since (2026-03-02 to 2026-03-03): "
        "nightshift run p --from 2026-03-02 --to 2026-03-03"
    ]


@pytest.mark.parametrize(
    ("drift", "said"),
    [
        pytest.param("WATCH", ["The monitor says WATCH of 2026-03-02: SHIFT 'a' shifted."], id="worth a look"),
        pytest.param("OK", [], id="all is well"),
    ],
)
def test_page_is_not_calm_about_what_the_monitor_watches(drift: str, said: list[str]) -> None:
    unseen = {"partition": "2026-03-03", "drift": None, "drift_reasons": []}
    seen = {"partition": "2026-03-02", "drift": drift, "drift_reasons": ["SHIFT 'a' shifted.", "VOTES 1 of 3."]}
    one = {"champion": {"version": 1}, "shadow": None, "partitions": [unseen, seen]}
    assert notes(one) == said


def test_story_ends_with_the_decision_that_holds() -> None:
    """A rollback from the 4th on and a later promotion on the 3rd: the promotion is what holds, so it comes first."""
    day = {"error": None, "repaired": None, "state": "released", "release": "released", "drift": "OK"}
    day |= {"read": 1, "quarantined": 0}
    promoted = {"partition": "2026-03-03", "outcome": "PROMOTE", "version": 4, "reasons": ["better"]}
    rollback = {"since": "2026-03-04T00:00:00+00:00", "action": "rollback", "version": 1, "actor": "anna"}
    told = story(
        {
            "partitions": [day | {"partition": "2026-03-03"}],
            "gates": [promoted | {"decided_at": "2026-05-02T00:00:00+00:00"}],
            "shadows": [],
            "champions": [rollback | {"reason": "why", "decided_at": "2026-05-01T00:00:00+00:00"}],
        }
    )
    assert [(event["date"], event["kind"]) for event in told] == [("2026-03-03", "PROMOTE"), ("2026-03-03", "rollback")]


def test_page_links_lead_to_reports_only(tmp_path: Path) -> None:
    """The Airflow UI serves the reports folder and nothing beside it."""
    index = told(tmp_path)
    page = index.parent / "card_payments" / "index.html"
    parser = Addresses()
    parser.feed(page.read_text())
    assert parser.found
    for address in parser.found:
        assert (page.parent / address).resolve().is_relative_to(index.parent.resolve()), address
