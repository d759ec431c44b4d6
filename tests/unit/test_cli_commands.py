"""Commands over real files and a real ledger in a temporary home."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner, Result

from pipelines.cli import app
from pipelines.cli.schema_page import pipeline_schema
from pipelines.cli.state_page import sections
from pipelines.context import Context
from pipelines.home import REPOSITORY, Home
from pipelines.ingest.columns import QUARANTINE
from pipelines.ledger import Ledger
from pipelines.settings import load_pipeline
from pipelines.settings.meanings import MEANINGS
from tests.unit.test_settings_problems import config_folder, good

LONG = "o4;" + "x" * 200


@pytest.fixture(autouse=True)
def _piped_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """Output that is piped is as wide as COLUMNS says, which a test runner may set."""
    monkeypatch.delenv("COLUMNS", raising=False)


class Place:
    """A temporary configuration with the pipeline 'orders', and a home."""

    def __init__(self, root: Path, **files: str) -> None:
        self.config = config_folder(root, **(files or {"orders": good()}))
        suite = {"name": "orders", "expectations": [_rule("order_id")]}
        (root / "expectations" / "orders.json").write_text(json.dumps(suite))
        self.home = Home(root / "home", self.config)

    def call(self, *arguments: str) -> Result:
        options = ["--home", str(self.home.root), "--config", str(self.config)]
        return CliRunner().invoke(app, [*arguments, *options])

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.home.ledger_url)

    def context(self, partition: str) -> Context:
        pipeline = load_pipeline("orders", self.config)
        return Context(pipeline, self.home, self.ledger, pipeline.parse(partition), "run-1")

    def account(self, partition: str, read: int, clean: int, quarantined: int, duplicate: int, **more: str) -> None:
        counts = {"read": read, "clean": clean, "quarantined": quarantined, "duplicate": duplicate}
        values = {"state": "clean", "reason": None, "run_id": "run-1", **more, **counts}
        self.ledger.set_accounting("orders", partition, **values)


def _rule(column: str) -> dict:
    return {
        "type": "expect_column_values_to_not_be_null",
        "kwargs": {"column": column},
        "severity": "critical",
        "meta": {"rule_id": f"{column.upper()}_MISSING"},
    }


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def one_line(result: Result) -> str:
    """The error of a command: one line, no traceback."""
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    return lines[0]


# -- check, list, schema ----------------------------------------------------------------------------------------------


def test_check_accepts_a_good_configuration(place: Place) -> None:
    (place.config / "features" / "broken_group.yaml").unlink()
    result = place.call("check")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "orders" in result.stdout
    assert "features/card_activity" in result.stdout


def test_check_reports_all_problems_of_all_files(tmp_path: Path) -> None:
    returns = good("returns", more="scor: {}\n").replace("key: [order_id]", "key: [ordr_id]")
    place = Place(tmp_path, orders=good(more="catchup: yes\n"), returns=returns)
    result = place.call("check")
    assert result.exit_code == 2
    files = [line.split(": ")[0] for line in result.stderr.splitlines()]
    assert files == [
        "E-CONFIG-NAME config/features/broken_group.yaml:1",
        "E-CONFIG-VALUE config/features/broken_group.yaml:3",
        "E-CONFIG-RULE config/features/broken_group.yaml:5",
        "E-CONFIG-VALUE config/features/broken_group.yaml:6",
        "E-CONFIG-YAML config/pipelines/orders.yaml:13",
        "E-CONFIG-COLUMN config/pipelines/returns.yaml:11",
        "E-CONFIG-UNKNOWN config/pipelines/returns.yaml:13",
        "7 problem(s) in 3 file(s). Nothing was run.",
    ]


def test_check_of_one_name_leaves_the_others_alone(place: Place) -> None:
    assert place.call("check", "orders").exit_code == 0


def test_check_sees_a_suite_that_names_an_unknown_column(place: Place) -> None:
    suite = {"name": "orders", "expectations": [_rule("ordr_id")]}
    (place.config.parent / "expectations" / "orders.json").write_text(json.dumps(suite))
    result = place.call("check", "orders", "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == 2
    assert found["ok"] is False
    assert [(problem["code"], problem["file"]) for problem in found["problems"]] == [
        ("E-SUITE-COLUMN", "expectations/orders.json")
    ]


def test_check_points_to_the_line_of_a_wrong_feature(tmp_path: Path) -> None:
    more = "features:\n  groups: [card_activity]\n"
    result = Place(tmp_path, orders=good(more=more)).call("check", "orders", "--json")
    problems = json.loads(result.stdout)["problems"]
    assert {(problem["code"], problem["file"], problem["line"]) for problem in problems} == {
        ("E-FEATURE-COLUMN", "config/features/card_activity.yaml", 3)
    }


TUNED = """\
features: {groups: [{name: shape, owner: me, features: [{kind: calendar, column: ordered_at, parts: [hour]}]}]}
label: {column: amount_eur}
training:
  task: regression
  model: {family: %s}
  tuning:
    trials: 3
    ranges:
      max_depth: [2, 9]
      %s: [1, 5]
"""


@pytest.mark.parametrize(
    ("family", "name", "meant"),
    [
        ("sklearn, estimator: RandomForestRegressor", "max_leaf_node", "max_leaf_nodes"),
        ("xgboost", "max_leave", "max_leaves"),
    ],
    ids=["scikit-learn", "xgboost"],
)
def test_check_points_to_the_line_of_a_wrong_range(tmp_path: Path, family: str, name: str, meant: str) -> None:
    place = Place(tmp_path, orders=good(more=TUNED % (family, name)))
    (problem,) = json.loads(place.call("check", "orders", "--deep", "--json").stdout)["problems"]
    assert (problem["code"], problem["file"], problem["line"]) == (
        "E-MODEL-TUNING",
        "config/pipelines/orders.yaml",
        22,
    )
    assert problem["message"].endswith(f"Did you mean '{meant}'?")


def test_check_says_that_yml_is_not_read(place: Place) -> None:
    (place.config / "pipelines" / "orders.yml").write_text(good())
    assert "E-CONFIG-FILE config/pipelines/orders.yml: the file is not read" in place.call("check").stderr


def test_list_shows_a_broken_pipeline_as_broken(tmp_path: Path) -> None:
    place = Place(tmp_path, orders=good(), returns=good("returns", more="scor: 1\n"))
    rows = json.loads(place.call("list", "--json").stdout)
    assert [(row["name"], row["problems"]) for row in rows] == [("orders", 0), ("returns", 1)]
    assert "nightshift check returns" in place.call("list").stdout


def test_schema_describes_what_a_file_may_hold() -> None:
    pipeline = json.loads(CliRunner().invoke(app, ["schema"]).stdout)
    assert "validate" in pipeline["properties"]
    assert not {"feature_groups", "validate_"} & set(pipeline["properties"])
    group = json.loads(CliRunner().invoke(app, ["schema", "--group"]).stdout)
    assert set(group["required"]) == {"name", "owner", "features"}


def test_every_key_has_a_meaning_and_every_meaning_a_key() -> None:
    schema = pipeline_schema()
    blocks = {"Pipeline": schema, **schema["$defs"]}
    keys = {
        f"{name}.{key}": field for name, block in blocks.items() for key, field in block.get("properties", {}).items()
    }
    assert [key for key, field in keys.items() if not field.get("description")] == []
    assert set(MEANINGS) - set(keys) == set()


def test_page_in_docs_is_that_of_the_schema() -> None:
    page = CliRunner().invoke(app, ["schema", "--markdown"]).stdout
    written = (REPOSITORY / "docs" / "configuration.md").read_text()
    assert written == page, "run: nightshift schema --markdown > docs/configuration.md"


def test_page_of_models_is_that_of_the_code() -> None:
    page = CliRunner().invoke(app, ["schema", "--models"]).stdout
    assert (REPOSITORY / "docs" / "models.md").read_text() == page, "run: nightshift schema --models > docs/models.md"


# -- status, quarantine, verify ---------------------------------------------------------------------------------------


def test_reading_a_home_where_nothing_ran_is_wrong_use(place: Place) -> None:
    result = place.call("status")
    assert result.exit_code == 2
    assert one_line(result).startswith(f"E-HOME-EMPTY {place.home.root}: ")
    assert not place.home.root.exists()


def test_status_shows_counts_and_champion(place: Place) -> None:
    place.account("2026-03-02", 1_200, 1_190, 8, 2)
    place.account("2026-03-03", 0, 0, 0, 0, state="absent")
    place.ledger.change_champion(
        "orders",
        3,
        expected_seq=0,
        effective_from=load_pipeline("orders", place.config).parse("2026-03-02").start,
        action="promote",
        reason="gain 0.02 over v2",
        actor="gate",
        run_id="run-1",
    )
    result = place.call("status", "orders")
    lines = [line.split() for line in result.stdout.splitlines() if line.strip()]
    assert result.exit_code == 0
    assert next(x for x in lines if x[0] == "2026-03-02")[:6] == ["2026-03-02", "clean", "1,200", "1,190", "8", "2"]
    assert "champion  v3 since 2026-03-02 (promote by gate): gain 0.02 over v2" in result.stdout
    assert json.loads(place.call("status", "orders", "--json").stdout)["totals"]["read"] == 1_200


def test_status_of_all_pipelines_is_one_line_each(place: Place) -> None:
    place.account("2026-03-02", 2, 2, 0, 0)
    assert [row["pipeline"] for row in json.loads(place.call("status", "--json").stdout)] == ["orders"]
    assert "2026-03-02" in place.call("status").stdout


def test_status_of_an_unknown_pipeline_is_wrong_use(place: Place) -> None:
    place.account("2026-03-02", 2, 2, 0, 0)
    result = place.call("status", "ordrs")
    assert result.exit_code == 2
    assert "Did you mean 'orders'?" in one_line(result)


def _quarantine(place: Place) -> None:
    """Four refused records: two unparsed, one with two reasons, one long with markup in it."""
    place.account("2026-03-02", 4, 0, 4, 0)
    rows = [
        ("r:1", 2, "o1;1;2;3", ["FIELD_COUNT: 4 fields instead of 3"], "ingest"),
        ("r:2", 3, "o2;[red]\x1b[31m", ["FIELD_COUNT: 2 fields instead of 3"], "ingest"),
        ("r:3", 4, "{}", ["AMOUNT_RANGE: below 0", "ORDER_ID_MISSING: empty"], "validate"),
        ("r:4", 5, LONG, ["AMOUNT_RANGE: below 0"], "validate"),
    ]
    run = place.context("2026-03-02")
    for stage in ("ingest", "validate"):
        records = [
            dict(zip(("row_id", "source_line", "record", "reasons", "stage"), row, strict=True))
            | {"source_file": "inbox/2026-03-02.csv", "partition": "2026-03-02"}
            for row in rows
            if row[4] == stage
        ]
        table = pa.Table.from_pylist(records, schema=QUARANTINE)
        run.publish("quarantine", run.snapshot("quarantine"), table, f"digest-{stage}", {}, stage=stage)


def test_quarantine_counts_a_row_under_each_of_its_reasons(place: Place) -> None:
    _quarantine(place)
    found = json.loads(place.call("quarantine", "orders", "--partition", "2026-03-02", "--json").stdout)
    assert [(reason["code"], reason["stage"], reason["rows"]) for reason in found["reasons"]] == [
        ("FIELD_COUNT", "ingest", 2),
        ("AMOUNT_RANGE", "validate", 2),
        ("ORDER_ID_MISSING", "validate", 1),
    ]
    assert found["rows"] == 4
    assert found["records"][3]["record"] == LONG


def test_quarantine_shows_file_and_line_and_cuts_long_records(place: Place) -> None:
    _quarantine(place)
    shown = place.call("quarantine", "orders", "--partition", "2026-03-02").stdout
    assert "inbox/2026-03-02.csv:2  o1;1;2;3" in shown
    assert LONG not in shown
    assert LONG[:120] + "... (203 characters)" in shown
    assert LONG in place.call("quarantine", "orders", "--partition", "2026-03-02", "--show-values").stdout


@pytest.mark.parametrize(
    ("option", "rows"),
    [
        ((), "The rows below are as they came, with at most 120 characters each; --show-values shows them whole."),
        (("--show-values",), "The rows below are as they came."),
        (("--samples", "0"), "The values lie in the rows, which --samples shows."),
    ],
    ids=["cut", "whole", "no rows"],
)
def test_quarantine_says_once_that_reasons_mask_values(place: Place, option: tuple[str, ...], rows: str) -> None:
    """A reason says '9.9x' where the row below it says '1.0O'."""
    _quarantine(place)
    shown = place.call("quarantine", "orders", "--partition", "2026-03-02", *option).stdout
    assert shown.count(f"A reason may quote a value masked: 9 stands for a digit, x for a letter. {rows}\n") == 1


def test_records_cannot_colour_the_terminal(place: Place) -> None:
    _quarantine(place)
    shown = place.call("quarantine", "orders", "--partition", "2026-03-02").stdout
    assert "\x1b" not in shown
    assert "o2;[red]\\x1b[31m" in shown


def test_quarantine_of_a_day_that_never_ran_is_wrong_use(place: Place) -> None:
    _quarantine(place)
    result = place.call("quarantine", "orders", "--partition", "2026-03-03")
    assert result.exit_code == 2
    assert one_line(result).startswith("E-RUN-PARTITION orders 2026-03-03: this partition was not ingested yet")


def test_story_shows_wide_records_line_by_line(capsys: pytest.CaptureFixture[str]) -> None:
    wide = {f"column_{number}": number for number in range(6)}
    sections(
        {"partition": "2026-03-02", "raw": [wide, wide], "checks": [{"rule": "[red]R", "ok": True}], "score": None}
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "partition  2026-03-02"
    assert lines[2:5] == ["raw", "  1 of 2", "  column_0  0"]
    assert "[red]R" in "\n".join(lines)
    assert lines[-1] == "score  -"


def test_verify_says_no_when_the_rows_do_not_add_up(place: Place) -> None:
    place.account("2026-03-02", 4, 1, 1, 1)
    result = place.call("verify", "orders")
    assert result.exit_code == 1
    assert "2026-03-02" in result.stderr


def test_retract_of_nothing_is_a_no(place: Place) -> None:
    place.account("2026-03-02", 4, 4, 0, 0)
    result = place.call("retract", "orders", "2026-03-02", "--reason", "wrong file")
    assert result.exit_code == 1
    assert one_line(result).startswith("E-RETRACT-NOTHING orders 2026-03-02: ")
    attempts = [(row["step"], row["state"]) for row in place.ledger.attempts("orders")]
    assert attempts == [("retract", "refused")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from", "2026-03-04", "--to", "2026-03-03"], "'--to' must not be before '--from'"),
        (["--from", "2026-03-01"], "2026-03-01 lies before 'start'"),
        (["--from", "2026-02-30"], "a day must be written like '2026-03-02', got '2026-02-30'"),
        (["--from", "today"], "a day must be written like '2026-03-02', got 'today'"),
    ],
    ids=["backwards", "before-start", "no-such-day", "word"],
)
def test_run_refuses_impossible_partitions_before_anything_starts(
    arguments: list[str], message: str, place: Place
) -> None:
    result = place.call("run", "orders", *arguments)
    assert result.exit_code == 2
    assert message in one_line(result)
    assert not place.home.root.exists()


def test_history_shows_every_champion_with_who_and_why(place: Place) -> None:
    context = place.context("2026-03-02")
    changes = [
        (1, "promote", "gate, approved by ann", "better"),
        (2, "promote", "gate", "drift"),
        (1, "rollback", "bob", "bad scores"),
    ]
    for seq, (version, action, actor, reason) in enumerate(changes):
        who = {"action": action, "actor": actor, "reason": reason, "run_id": f"r{seq}"}
        moment = context.partition.end
        assert context.ledger.change_champion("orders", version, expected_seq=seq, effective_from=moment, **who)
    context.ledger.record_decision(
        "orders",
        "drill",
        "2026-03",
        run_id="m",
        outcome="FAIL",
        model_version=2,
        reasons=["E-MODEL-HASH x"],
        numbers={},
    )
    shown = place.call("history", "orders").stdout
    for word in (
        "approved by ann",
        "bob",
        "bad scores",
        "v2",
        "now",
        "rollback drill of 2026-03: v2 FAIL  E-MODEL-HASH x",
    ):
        assert word in shown
    found = json.loads(place.call("history", "orders", "--json").stdout)
    assert [(row["version"], row["action"], row["actor"], row["reason"]) for row in found["changes"]] == changes
    assert one_line(place.call("history", "ordres")).startswith("E-CONFIG-")


def test_history_without_a_champion_says_what_to_do(place: Place) -> None:
    place.ledger.start_attempt("orders", "2026-03-02", "ingest", "r", "c")
    assert "no champion yet" in place.call("history", "orders").stdout


def test_rollback_needs_a_reason(place: Place) -> None:
    result = place.call("rollback", "orders")
    assert result.exit_code == 2
    assert one_line(result).startswith("E-CLI-USAGE nightshift rollback: Missing option '--reason'")
