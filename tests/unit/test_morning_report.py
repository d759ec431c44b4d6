"""The morning report: one file per night that can be mailed, with the same facts as data beside it."""

from __future__ import annotations

import io
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipelines.cli.app import exit_code
from pipelines.context import Context
from pipelines.errors import DataError
from pipelines.report.morning import MOST_BYTES, fitting, page, write_morning
from pipelines.report.morning_facts import entry, morning_facts
from pipelines.runs.steps import call_step
from pipelines.storage.files import LocalFiles
from tests.builders import context


class Addresses(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.found += [value for name, value in attrs if name in ("href", "src") and value]


def account(run: Context, partition: str, state: str = "clean", clean: int = 9) -> None:
    run.ledger.set_accounting(
        run.name,
        partition,
        state=state,
        read=10,
        clean=clean,
        quarantined=10 - clean,
        duplicate=0,
        reason=None,
        run_id="r",
    )


def decide(run: Context, kind: str, partition: str, outcome: str, reason: str, **numbers: Any) -> None:
    run.ledger.record_decision(
        run.name,
        kind,
        partition,
        run_id="r",
        outcome=outcome,
        model_version=2,
        reasons=[reason],
        numbers=numbers,
    )


def told(tmp_path: Path) -> Context:
    """A good night whose challenger was held, with a drift report, and a refused one after it."""
    run = context(tmp_path, partition="2026-03-02", name="card_payments")
    account(run, "2026-03-01")
    account(run, "2026-03-02", "refused", 0)
    attempt = run.ledger.start_attempt(run.name, "2026-03-02", "validate", "r", "c")
    run.ledger.end_attempt(attempt, "refused", None, "E-DQ-EMPTY <b>card_payments</b> 2026-03-02: no <i>rows</i>.", 1)
    checks = [{"name": "champion", "passed": False, "text": "roc_auc 0.70 against 0.71"}]
    decide(run, "gate", "2026-03-01", "HOLD", "roc_auc 0.70 against 0.71", checks=checks)
    report = "reports/card_payments/drift/2026-03-01.html"
    decide(run, "drift", "2026-03-01", "WATCH", "SHIFT 'a' shifted.", report=report)
    return run


def parsed(text: str) -> Addresses:
    found = Addresses()
    found.feed(text)
    return found


def test_report_tells_the_refusal_and_the_gate(tmp_path: Path) -> None:
    text = Path(write_morning(told(tmp_path).home)).read_text()
    assert "1 of 1 pipeline needs somebody" in text
    assert "no &lt;i&gt;rows&lt;/i&gt;" in text  # a value from outside never becomes markup
    assert "roc_auc 0.70 against 0.71" in text
    assert "0 of 1 checks passed; not: champion" in text


def test_report_needs_no_script_and_no_network_and_links_to_reports_only(tmp_path: Path) -> None:
    home = told(tmp_path).home
    night, reports = Path(write_morning(home)), tmp_path / "reports"
    assert night == reports / "mornings" / "2026-03-02.html"
    for file in (night, reports / "index.html"):
        found = parsed(file.read_text())
        assert not found.tags & {"script", "link", "img", "iframe"}
        outside = [address for address in found.found if not address.startswith("#")]
        assert [(file.parent / address).resolve().relative_to(reports.resolve()).as_posix() for address in outside] == [
            "card_payments/drift/2026-03-01.html",
            "card_payments/models/2.html",
        ]


def test_same_ledger_gives_the_same_bytes(tmp_path: Path) -> None:
    home = told(tmp_path).home
    write_morning(home)
    files = sorted((tmp_path / "reports").rglob("*.*"))
    before = [file.read_bytes() for file in files]
    assert [file.name for file in files] == ["index.html", "2026-03-02.html", "2026-03-02.json", "2026-03-02.parquet"]
    write_morning(home)
    assert [file.read_bytes() for file in files] == before


def test_data_beside_it_says_the_same(tmp_path: Path) -> None:
    home = told(tmp_path).home
    write_morning(home)
    folder = tmp_path / "reports" / "mornings"
    assert json.loads((folder / "2026-03-02.json").read_text()) == morning_facts(home)
    rows = pq.read_table(io.BytesIO((folder / "2026-03-02.parquet").read_bytes())).to_pylist()
    kept = ("pipeline", "partition", "state", "read", "clean", "quarantined", "duplicate")
    assert [tuple(row[name] for name in kept) for row in rows] == [
        ("card_payments", "2026-03-02", "refused", 10, 0, 10, 0),
        ("card_payments", "2026-03-01", "clean", 10, 9, 1, 0),
    ]


def test_an_earlier_night_knows_nothing_of_later_ones_and_leaves_the_index(tmp_path: Path) -> None:
    home = told(tmp_path).home
    write_morning(home)
    index = (tmp_path / "reports" / "index.html").read_bytes()
    text = Path(write_morning(home, "2026-03-01")).read_text()
    assert "the night of 2026-03-01" in text
    assert "2026-03-02" not in text.replace("2026-03-02T", "")
    assert "Nothing to do." in text
    assert (tmp_path / "reports" / "index.html").read_bytes() == index


def test_a_step_that_stops_writes_the_report_and_says_so(tmp_path: Path) -> None:
    home = context(tmp_path).home
    with pytest.raises(DataError):
        call_step("card_payments", "2026-03-01", "run-1", "validate", home=home)
    text = (tmp_path / "reports" / "index.html").read_text()
    assert "was refused at validate on 2026-03-01" in text
    assert "nothing was ingested for this partition" in text


def test_report_of_an_empty_home_says_what_to_do(tmp_path: Path) -> None:
    assert "nightshift run NAME" in Path(write_morning(context(tmp_path).home)).read_text()


NIGHT = {
    "partition": "2026-03-01",
    "state": "released",
    "read": 10,
    "clean": 10,
    "quarantined": 0,
    "duplicate": 0,
    "scored": 10,
    "model": 1,
    "is_hindsight": False,
    "release": "released",
    "release_reason": None,
    "drift": None,
    "drift_reasons": [],
    "drift_numbers": {},
    "step": None,
    "error": None,
    "repaired": None,
    "is_stale": False,
    "links": [],
}


def state(name: str, *nights: dict[str, Any]) -> dict[str, Any]:
    nothing: dict[str, Any] = {"gates": [], "shadow": None, "shadows": [], "champions": [], "retrains": []}
    return {"pipeline": name, "partitions": [NIGHT | night for night in nights], "waiting": None, **nothing}


def night(day: int, value: float | None, model: int = 1) -> dict[str, Any]:
    realised = None if value is None else {"metric": "roc_auc", "value": value, "holdout": 0.9, "drop": 0.1}
    realised = realised and realised | {"drop_low": 0.0, "drop_high": 0.2}
    return {"partition": f"2026-03-{day:02d}", "model": model, "drift_numbers": {"realised": realised}}


def test_quality_is_drawn_with_the_version_that_took_over(tmp_path: Path) -> None:
    one = entry(state("p", night(3, None, 2), night(2, 0.8), night(1, 0.7)))
    assert one["quality"]["values"] == [0.7, 0.8, None]
    assert one["quality"]["changes"] == {"2026-03-03": "v2"}
    files = LocalFiles(tmp_path)
    text = page(files, {"night": "2026-03-03", "is_newest": True, "pipelines": [one]})
    assert "newest 0.8, between 0.7 and 0.8" in text
    kept = files.read("p/quality.svg")
    assert kept is not None
    files.write("p/quality.svg", kept.replace(b"<svg", b'<svg data-kept="yes"'))  # the same numbers: not drawn again
    assert 'data-kept="yes"' in page(files, {"night": "2026-03-03", "is_newest": True, "pipelines": [one]})
    other = entry(state("p", night(3, None, 2), night(2, 0.85), night(1, 0.7)))
    assert 'data-kept="yes"' not in page(files, {"night": "2026-03-03", "is_newest": True, "pipelines": [other]})


def test_one_value_is_no_drawing() -> None:
    assert entry(state("p", night(2, None), night(1, 0.7)))["quality"] is None


def test_report_of_many_pipelines_stays_below_a_megabyte_and_says_what_it_cut(tmp_path: Path) -> None:
    error = {"state": "failed", "step": "score", "error": "E-RUN-MEMORY p 2026-03-01: too much."}
    stopped = entry(state("zz_stopped", error))
    quiet = [
        entry(state(f"quiet_{n:03d}", *[{"partition": f"2026-03-{14 - d:02d}"} for d in range(14)])) for n in range(300)
    ]
    text = page(LocalFiles(tmp_path), {"night": "2026-03-14", "is_newest": True, "pipelines": [*quiet, stopped]})
    assert 0.8 * MOST_BYTES < len(text.encode()) < MOST_BYTES
    assert "Cut:" in text
    assert 'id="zz_stopped"' in text  # what needs somebody is never cut for what needs nobody
    assert 'id="quiet_000"' in text
    assert 'id="quiet_299"' not in text
    assert text.count("quiet_299") == 2  # in the overview, and named among those that were cut


def test_what_needs_somebody_fits_first() -> None:
    quiet, stopped = (
        entry(state("a", {})),
        entry(state("b", {"state": "failed", "step": "score", "error": "E-X p: y."})),
    )
    assert fitting([quiet, stopped], {"a": 60, "b": 50}, 100) == {"b"}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        pytest.param([], 0, "mornings/2026-03-02.html", id="newest"),
        pytest.param(["--partition", "2026-03-01"], 0, "mornings/2026-03-01.html", id="earlier"),
        pytest.param(["--partition", "2026-03-05"], 2, "no pipeline has a partition '2026-03-05'", id="none there"),
    ],
)
def test_command_prints_where_the_report_lies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, said: str
) -> None:
    from pipelines.cli import app

    told(tmp_path)
    assert exit_code(lambda: app(["--home", str(tmp_path), "report", *arguments])) == code
    printed = capsys.readouterr()
    assert said in printed.out + printed.err
