"""What other systems are told by real runs: metrics by StatsD, lineage by OpenLineage, logs; and what none of them is.

Every value of a row, and every secret, carries a mark of its own. Nothing but tables, and pages made of them, may hold
a mark: not the logs of a good day, of a training or of a bad day, at DEBUG.
"""

from __future__ import annotations

import csv
import json
import os
import socket
import threading
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines.home import Home
from pipelines.runs.local import local_airflow
from tests.conftest import without_airflow, write_config

pytestmark = pytest.mark.slow

DAYS = [(date(2026, 3, 1) + timedelta(days=number)).isoformat() for number in range(6)]
BAD, UNREADABLE = "2026-03-07", "2026-03-08"
# A source whose address holds a password, and which cannot be reached.
ORDERS = """
name: orders
owner: tests
start: 2026-03-01
source:
  format: sql
  url: postgresql+nosuchdriver://reader:${ORDERS_PASSWORD}@127.0.0.1:9/orders
  query: SELECT word FROM words
  columns: {word: {type: text}}
"""
ROWS = 80
PIPELINE = """
name: watched
owner: tests
start: 2026-03-01
source:
  format: csv
  path: {inbox}/{{partition}}.csv
  columns:
    payment_id: {{type: id, required: true}}
    holder: {{type: text}}
    country: {{type: category}}
    paid_at: {{type: timestamp, required: true}}
    amount: {{type: number}}
    verdict: {{type: category}}
key: [payment_id]
event_time: paid_at
deduplicate: {{by_key: true}}
features: {{columns: [amount, country]}}
label: {{column: verdict, positive: qzverdictbad}}
training:
  task: binary
  holdout_partitions: 2
  min_rows: 1
  model: {{family: sklearn, estimator: LogisticRegression}}
gate: {{min_holdout_rows: 1, leakage: null, slices: [country]}}
monitor: {{report: never}}
"""
SUITE = """
{"name": "watched", "expectations": [
  {"type": "expect_column_values_to_be_between", "kwargs": {"column": "amount", "min_value": 0},
   "severity": "critical", "meta": {"rule_id": "AMOUNT_POSITIVE"}}
]}
"""
SUITE_OF_ORDERS = SUITE.replace('"watched"', '"orders"').replace('"amount"', '"word"')
SECRETS = {
    "AIRFLOW_CONN_ORDERS": "postgresql://reader:qzsecretconn@127.0.0.1:9/orders",
    "AWS_SECRET_ACCESS_KEY": "qzsecretaws",
    "ORDERS_PASSWORD": "qzsecretenv",
}
# Ids, texts, categories and labels carry letters, numbers a run of digits that nothing else has.
MARKS = ("qzid", "qzholder", "qzcountry", "qzverdict", "7319164", "qzsecret")


def write_day(inbox: Path, day: str, number: int) -> None:
    """`ROWS` rows; one of them is refused by the suite, one stands twice, two cannot be read at all."""
    rows = []
    for row in range(ROWS):
        is_bad = row % 4 == 0
        amount = f"{40 + 40 * is_bad + row % 7}.7319164"
        verdict = "qzverdictbad" if is_bad else "qzverdictgood"
        rows.append(
            [f"qzid{number}x{row}", f"qzholder{row}", f"qzcountry{row % 3}", f"{day} 10:00:00", amount, verdict]
        )
    rows[5][4] = "-7319164"
    rows += [rows[1], [*rows[2][:4], "qzid7319164", "qzverdictgood"], [*rows[3][:3], "qzholder", "1.7319164", "x"]]
    with open(inbox / f"{day}.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["payment_id", "holder", "country", "paid_at", "amount", "verdict"])
        writer.writerows(rows)


def write_bad_days(inbox: Path) -> None:
    """Every row breaks the rule; and a file without its header line."""
    header = "payment_id,holder,country,paid_at,amount,verdict\n"
    rows = [f"qzid{row},qzholder{row},qzcountry9,{{}} 10:00:00,-{row}7319164,qzverdictodd\n" for row in range(ROWS)]
    (inbox / f"{BAD}.csv").write_text(header + "".join(rows).replace("{}", BAD))
    (inbox / f"{UNREADABLE}.csv").write_text("".join(rows).replace("{}", UNREADABLE))


class Listener:
    """A StatsD server: it keeps what arrives on a UDP port."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port, self.lines = self.socket.getsockname()[1], list[str]()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while packet := self.socket.recv(65_536):
            self.lines += packet.decode().splitlines()

    def values(self, name: str) -> dict[tuple[str, ...], list[float]]:
        """Values of `airflow.nightshift.<name>` by tags."""
        found: dict[tuple[str, ...], list[float]] = {}
        for line in self.lines:
            what, _, value = line.partition(":")
            own, *tags = what.split(",")
            if own == f"airflow.nightshift.{name}":
                found.setdefault(tuple(sorted(tags)), []).append(float(value.partition("|")[0]))
        return found


@dataclass
class World:
    """Everything that the runs left."""

    home: Home
    statsd: Listener
    lineage: Path
    events: dict[str, dict[str, Any]] = field(default_factory=dict)

    def logs(self) -> dict[Path, str]:
        folder = self.home.airflow / "logs"
        return {path.relative_to(folder): path.read_text() for path in folder.rglob("*.log")}

    def task_lines(self, task: str, day: str) -> list[dict[str, Any]]:
        found = [
            text for path, text in self.logs().items() if f"task_id={task}" in str(path) and f"__{day}" in str(path)
        ]
        return [json.loads(line) for line in "".join(found).splitlines()]

    def lineage_of(self, task: str, kind: str, state: str = "COMPLETE") -> dict[str, dict[str, Any]]:
        """The inputs or outputs of the last such event of a task, by the end of their names."""
        events = [json.loads(line) for line in self.lineage.read_text().splitlines()]
        mine = [one for one in events if one["job"]["name"].endswith(f".{task}") and one["eventType"] == state]
        return {one["name"].rsplit("/", 1)[-1]: one for one in mine[-1][kind]}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    root = tmp_path_factory.mktemp("observed")
    inbox = root / "inbox"
    inbox.mkdir()
    for number, day in enumerate(DAYS):
        write_day(inbox, day, number)
    write_bad_days(inbox)
    config = write_config(root, watched=PIPELINE.format(inbox=inbox), orders=ORDERS)
    (root / "expectations" / "orders.json").write_text(SUITE_OF_ORDERS)
    (root / "expectations" / "watched.json").write_text(SUITE)
    made = World(Home(root / "home", config), Listener(), root / "lineage.jsonl")
    before, clean = dict(os.environ), without_airflow()
    os.environ.clear()
    os.environ.update(clean | SECRETS)
    transport = {"type": "file", "log_file_path": str(made.lineage), "append": True}
    os.environ |= {
        "AIRFLOW__METRICS__STATSD_ON": "True",
        "AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED": "True",
        "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
        "AIRFLOW__METRICS__STATSD_PORT": str(made.statsd.port),
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(transport),
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG",
    }
    try:
        with local_airflow(made.home) as airflow:
            for day in DAYS[:5]:
                made.events[day] = airflow.run("watched__daily", day, {"partition_key": day})
            asked = {"as_of_partition": DAYS[4], "trigger": "tests"}
            made.events["retrain"] = airflow.run("watched__retrain", DAYS[4], asked)
            for day in (DAYS[5], BAD, UNREADABLE):
                made.events[day] = airflow.run("watched__daily", day, {"partition_key": day})
            made.events["orders"] = airflow.run("orders__daily", DAYS[0], {"partition_key": DAYS[0]})
    finally:
        os.environ.clear()
        os.environ.update(before)
    return made


def test_days_went_as_planned(world: World) -> None:
    """Else nothing below says anything."""
    states = {name: event["state"] for name, event in world.events.items()}
    assert states == dict.fromkeys([*DAYS, "retrain"], "success") | dict.fromkeys([BAD, UNREADABLE, "orders"], "failed")
    assert world.events["retrain"]["summaries"]["gate"]["outcome"] == "PROMOTE"
    assert "E-DQ-" in world.events[BAD]["error"]
    assert "E-SCHEMA-MISSING" in world.events[UNREADABLE]["error"]
    assert "E-CONFIG-URL" in world.events["orders"]["error"]


def test_no_log_holds_a_value_of_a_row_or_a_secret(world: World) -> None:
    logs = world.logs()
    assert len(logs) > 40
    found = [
        f"{path}: {line[max(0, line.index(mark) - 200) : line.index(mark) + 80]}"
        for path, text in logs.items()
        for line in text.splitlines()
        for mark in MARKS
        if mark in line
    ]
    assert found[:5] == []


def test_lineage_and_metrics_hold_none_either(world: World) -> None:
    told = world.lineage.read_text() + "\n".join(world.statsd.lines)
    assert [mark for mark in MARKS if mark in told] == []


def test_each_line_of_a_step_says_what_it_is_about(world: World) -> None:
    lines = [line for line in world.task_lines("score", DAYS[5]) if line["logger"] == "nightshift"]
    assert len(lines) >= 2
    for line in lines:
        facts = {name: line[name] for name in ("pipeline", "partition", "step")}
        assert facts == {"pipeline": "watched", "partition": DAYS[5], "step": "score"}
        assert line["run_id"] == world.events[DAYS[5]]["run_id"]
        assert line["code_version"]
    (gate,) = [line for line in world.task_lines("gate", DAYS[4]) if "state done" in line["event"]]
    assert gate["model_version"] == 1


def test_metrics_count_each_row_once(world: World) -> None:
    tags = ("pipeline=watched", "state=clean", "step=deduplicate")
    names = ("read", "clean", "quarantined", "duplicate")
    counted = {name: world.statsd.values(f"rows.{name}")[tags] for name in names}
    assert counted == {"read": [83] * 6, "clean": [79] * 6, "quarantined": [3] * 6, "duplicate": [1] * 6}
    refused = world.statsd.values("rows.quarantined")["pipeline=watched", "state=refused", "step=validate"]
    assert refused == [ROWS]
    assert world.statsd.values("rows.scored") == {("pipeline=watched", "step=score"): [79]}


def test_metrics_tell_how_steps_and_decisions_went(world: World) -> None:
    ended = world.statsd.values("step.ended")
    assert sum(ended["pipeline=watched", "state=refused", "step=validate"]) == 1
    assert sum(ended["pipeline=watched", "state=done", "step=release"]) == 1
    (milliseconds,) = world.statsd.values("step.duration")["pipeline=watched", "state=done", "step=train"]
    assert milliseconds > 10
    assert min(world.statsd.values("step.peak_memory")["pipeline=watched", "step=train"]) > 50  # MiB
    assert world.statsd.values("gate.decisions") == {("outcome=PROMOTE", "pipeline=watched", "step=gate"): [1]}
    assert world.statsd.values("champion.age") == {("pipeline=watched", "step=monitor"): [1]}
    assert min(world.statsd.values("release.delay")["pipeline=watched", "step=release"]) > 86_400  # of March 2026


def test_lineage_names_tables_with_versions_and_counts(world: World) -> None:
    (source,) = world.lineage_of("ingest", "inputs").values()
    outputs = world.lineage_of("deduplicate", "outputs")
    clean = outputs["clean"]
    assert source["inputFacets"]["inputStatistics"]["rowCount"] == ROWS  # of the refused day, the last that was read
    assert sorted(outputs) == ["clean", "duplicates"]
    assert (clean["namespace"], clean["name"]) == ("file", world.home.table("watched", "clean"))
    assert clean["outputFacets"]["outputStatistics"]["rowCount"] == 79
    assert {tag["key"] for tag in clean["facets"]["tags"]["tags"]} == {"partition", "content_digest"}
    assert clean["facets"]["version"]["datasetVersion"].isdigit()
    assert sorted(world.lineage_of("train", "outputs")) == ["watched"]
    assert sorted(world.lineage_of("release", "outputs")) == ["predictions", "watched"]


def test_a_refused_day_is_a_failed_job_that_read_its_input(world: World) -> None:
    assert sorted(world.lineage_of("validate", "inputs", state="FAIL")) == ["raw"]
