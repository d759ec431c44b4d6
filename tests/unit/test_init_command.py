"""`nightshift init` as a person and a script meet it: proposals that check, questions, refusals, a wizard."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from pipelines.cli import app
from pipelines.home import REPOSITORY
from pipelines.settings.loader import check_pipeline

HEADER = "payment_id,paid_at,card_id,amount,channel,is_fraud"
PAYMENTS = [HEADER] + [
    f"p{n},2026-03-{1 + n // 40:02d} {n % 24:02d}:00:00,c{n % 25},{10 + n * 7 % 90}.5,"
    f"{'web' if n % 3 else 'shop'},{int(n % 90 > 70)}"
    for n in range(800)
]


class Place:
    """An empty configuration, a home, and a sample."""

    def __init__(self, root: Path) -> None:
        self.root, self.config = root, root / "config"
        shutil.copytree(REPOSITORY / "config" / "environments", self.config / "environments")
        self.sample = root / "payments.csv"
        self.sample.write_text("\n".join(PAYMENTS) + "\n")

    @property
    def options(self) -> list[str]:
        return ["--home", str(self.root / "home"), "--config", str(self.config)]

    def call(self, *arguments: str) -> Result:
        return CliRunner().invoke(app, [*arguments, *self.options])

    def init(self, *arguments: str) -> Result:
        return self.call("init", str(self.sample), *arguments)

    def yaml(self, name: str = "payments") -> str:
        return (self.config / "pipelines" / f"{name}.yaml").read_text()

    @property
    def files(self) -> list[str]:
        return sorted(path.relative_to(self.root).as_posix() for path in self.root.rglob("*") if path.is_file())


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.delenv("NIGHTSHIFT_DATA", raising=False)
    monkeypatch.setenv("COLUMNS", "150")
    return Place(tmp_path)


def test_a_proposal_passes_check_and_names_the_next_two_commands(place: Place) -> None:
    result = place.init("--label", "is_fraud")
    assert result.exit_code == 0, result.output
    assert "nightshift check payments" in result.output
    assert "nightshift run payments --from 2026-03-01 --to 2026-03-20" in result.output
    checked = place.call("check", "payments", "--deep")
    assert checked.exit_code == 0, checked.output
    pipeline, _ = check_pipeline("payments", place.config)
    assert pipeline is not None
    assert pipeline.key == ("payment_id",)
    assert (pipeline.event_time, pipeline.source.time_column) == ("paid_at", "paid_at")  # type: ignore[union-attr]
    assert pipeline.label is not None
    assert pipeline.label.column == "is_fraud"
    assert pipeline.features.columns == ("amount", "channel")
    assert [group.entity for group in pipeline.feature_groups] == [("card_id",)]


def test_each_choice_has_its_evidence_beside_it(place: Place) -> None:
    place.init("--label", "is_fraud")
    text = place.yaml()
    assert "key: [payment_id]  # payment_id is different in all 800 rows" in text
    assert re.search(r"channel: \{type: category\} +# 2 values: web 67%, shop 33%", text)
    assert "#   card_id: names something (25 values)" in text
    rules = json.loads((place.root / "expectations" / "payments.json").read_text())["expectations"]
    assert {rule["severity"] for rule in rules} == {"warning"}, "nobody has read them yet"
    assert all("partitions of the sample" in rule["meta"]["note"] for rule in rules)


def test_the_same_sample_gives_the_same_files(place: Place) -> None:
    place.init("--label", "is_fraud")
    before = {path: (place.root / path).read_text() for path in place.files}
    again = place.init("--label", "is_fraud")
    assert again.exit_code == 0, "files that say the same are no conflict"
    assert {path: (place.root / path).read_text() for path in place.files} == before


def test_a_file_that_somebody_changed_is_never_overwritten(place: Place) -> None:
    place.init("--label", "is_fraud")
    mine = place.config / "pipelines" / "payments.yaml"
    mine.write_text(mine.read_text().replace("rounds: 60", "rounds: 77"))
    refused = place.init("--label", "is_fraud")
    assert refused.exit_code == 2
    assert "-    rounds: 77" in refused.stdout
    assert "+    rounds: 60" in refused.stdout
    assert "E-INIT-EXISTS" in refused.stderr
    assert "rounds: 77" in place.yaml()
    assert place.init("--label", "is_fraud", "--force").exit_code == 0
    assert "rounds: 60" in place.yaml()


def test_without_a_terminal_all_needed_options_are_named_at_once(place: Place) -> None:
    lines = [line.split(",") for line in PAYMENTS]
    place.sample.write_text("\n".join(",".join([row[0], *row[2:]]) for row in lines) + "\n")
    before = place.files
    result = place.init()
    assert result.exit_code == 2
    assert "E-INIT-ASK payments.csv" in result.stderr
    assert "--label is_fraud, or --no-label" in result.stderr
    assert "--deal 10" in result.stderr
    assert place.files == before


def test_bare_without_a_terminal_does_not_wait(place: Place) -> None:
    result = place.call("init")
    assert result.exit_code == 2
    assert "nightshift init payments.csv --label is_fraud" in result.stderr


def test_a_snapshot_is_dealt_when_it_is_agreed(place: Place) -> None:
    lines = [line.split(",") for line in PAYMENTS]
    place.sample.write_text("\n".join(",".join([row[0], *row[2:]]) for row in lines) + "\n")
    result = place.init("--label", "is_fraud", "--deal", "8")
    assert result.exit_code == 0, result.output
    settings = yaml.safe_load(place.yaml())
    assert settings["source"]["dealt"] is True
    assert (settings["end"] - settings["start"]).days == 7
    assert "event_time" not in settings


def test_yes_takes_the_label_that_the_names_propose(place: Place) -> None:
    assert place.init("--yes").exit_code == 0
    assert yaml.safe_load(place.yaml())["label"]["column"] == "is_fraud"


def test_a_label_that_is_proposed_is_no_key(place: Place) -> None:
    """'label' is different in every row here, whatever its name says."""
    header, *lines = PAYMENTS
    place.sample.write_text("\n".join([f"{header},label", *(f"{line},L{n}" for n, line in enumerate(lines))]) + "\n")
    result = place.init("--yes")
    assert result.exit_code == 0, result.output
    found = yaml.safe_load(place.yaml())
    assert (found["label"]["column"], found["key"]) == ("is_fraud", ["payment_id"])


def test_a_key_that_is_found_does_not_hold_the_label(place: Place) -> None:
    """Two rows of each number, which only the label tells apart."""
    lines = [f"n{n // 2},2026-03-{1 + n // 40:02d} 10:00:00,{10 + n * 7 % 90}.5,{n % 2}" for n in range(400)]
    place.sample.write_text("\n".join(["order_no,paid_at,amount,outcome_id", *lines]) + "\n")
    result = place.init("--label", "outcome_id")
    assert result.exit_code == 0, result.output
    assert "outcome_id" not in yaml.safe_load(place.yaml()).get("key", [])


def test_json_lines_are_read_and_lists_left_out(place: Place) -> None:
    rows = [dict(zip(HEADER.split(","), line.split(","), strict=True)) for line in PAYMENTS[1:]]
    typed = [row | {"amount": float(row["amount"]), "is_fraud": int(row["is_fraud"]), "tags": ["a"]} for row in rows]
    (place.root / "events.jsonl").write_text("\n".join(map(json.dumps, typed)) + "\n")
    result = place.call("init", str(place.root / "events.jsonl"), "--label", "is_fraud")
    assert result.exit_code == 0, result.output
    assert "no column type holds them: tags" in result.output
    columns = yaml.safe_load(place.yaml("events"))["source"]["columns"]
    assert {name: one["type"] for name, one in columns.items()} == {
        "payment_id": "id",
        "paid_at": "timestamp",
        "card_id": "id",
        "amount": "number",
        "channel": "category",
        "is_fraud": "integer",
    }


def test_no_label_reads_checks_and_deduplicates_only(place: Place) -> None:
    result = place.init("--no-label")
    assert result.exit_code == 0, result.output
    assert not {"label", "training", "features"} & set(yaml.safe_load(place.yaml()))


@pytest.mark.parametrize(
    ("named", "pattern"),
    [("2026-03-{:02d}", "{partition}"), ("202603{:02d}", "{partition:%Y%m%d}")],
    ids=["as partitions are called", "in another form"],
)
def test_daily_files_become_a_pattern_and_a_day_without_one_is_skipped(place: Place, named: str, pattern: str) -> None:
    folder = place.root / "daily"
    folder.mkdir()
    for day in (1, 2, 3, 5, 6):
        rows = [line for line in PAYMENTS[1:] if line.split(",")[1].startswith(f"2026-03-{day:02d}")]
        (folder / f"pay-{named.format(day)}.csv").write_text("\n".join([PAYMENTS[0], *rows]) + "\n")
    result = place.call("init", str(folder), "--label", "is_fraud", "--name", "daily")
    assert result.exit_code == 0, result.output
    source = yaml.safe_load(place.yaml("daily"))["source"]
    assert source["path"] == f"{folder.resolve()}/pay-{pattern}.csv"
    assert source["missing"] == "skip"
    assert "time_column" not in source
    assert "1 days have no file, the first is 2026-03-04" in place.yaml("daily")
    assert "40 rows of 2026-03-01, 0 to quarantine" in " ".join(result.output.split())  # read as the night reads it


def test_files_without_dates_are_combined_when_it_is_agreed(place: Place) -> None:
    folder = place.root / "parts"
    folder.mkdir()
    for part in range(2):
        (folder / f"part-{part}.csv").write_text("\n".join([PAYMENTS[0], *PAYMENTS[1 + part :: 2]]) + "\n")
    refused = place.call("init", str(folder), "--label", "is_fraud", "--name", "parts")
    assert refused.exit_code == 2
    assert "--combine" in refused.stderr
    assert "(03-04-2026 reads both ways), so no night could find its file" in refused.stderr
    result = place.call("init", str(folder), "--label", "is_fraud", "--name", "parts", "--combine")
    assert result.exit_code == 0, result.output
    assert (place.root / "home" / "inbox" / "parts.parquet").is_file()
    assert yaml.safe_load(place.yaml("parts"))["source"]["path"] == "${NIGHTSHIFT_HOME}/inbox/parts.parquet"


def test_a_path_below_nightshift_data_says_so(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTSHIFT_DATA", str(place.root))
    place.init("--label", "is_fraud")
    assert yaml.safe_load(place.yaml())["source"]["path"] == "${NIGHTSHIFT_DATA}/payments.csv"


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        pytest.param(["--label", "is_frod"], "there is no column 'is_frod'. Did you mean 'is_fraud'?", id="a typo"),
        pytest.param(["--label", "is_fraud", "--key", "is_fraud"], "this column is the label", id="the label as key"),
        pytest.param(["--label", "is_fraud", "--key", "card_id"], "775 of 800 rows repeat the key", id="no key"),
        pytest.param(["--label", "is_fraud", "--time", "amount"], "must read as a date or timestamp", id="no time"),
        pytest.param(["--label", "is_fraud", "--task", "ranking"], "must be one of 'binary'", id="no task"),
        pytest.param(["--label", "is_fraud", "--name", "My Feed"], "a name must be small letters", id="no name"),
        pytest.param(["--label", "is_fraud", "--deal", "2"], "a number from 4 to 1000", id="too few days"),
        pytest.param(
            ["--label", "is_fraud", "--positive", "2"], "one of the label's, '0', '1', got '2'", id="no such value"
        ),
    ],
)
def test_an_option_that_does_not_fit_is_refused_and_nothing_written(
    arguments: list[str], what: str, place: Place
) -> None:
    before = place.files
    result = place.init(*arguments)
    assert result.exit_code in (1, 2)
    assert what in result.stderr
    assert "E-BUG" not in result.stderr
    assert place.files == before


class Terminal:
    """The command at a pseudo-terminal of 100 columns, typed at by a test."""

    def __init__(self, place: Place, *arguments: str) -> None:
        self._master, slave = pty.openpty()
        words = [sys.executable, "-c", "from pipelines.cli import main; main()", "init", *arguments, *place.options]
        env = {**os.environ, "COLUMNS": "100", "TERM": "dumb"}
        self.child = subprocess.Popen(
            words, stdin=slave, stdout=slave, stderr=slave, cwd=place.root, env=env, start_new_session=True
        )
        os.close(slave)
        self.text = ""

    def answer(self, question: str, answer: str) -> None:
        """Waits for the question, after what was answered before, and types."""
        start = len(self.text)
        self.until(lambda: question in " ".join(self.text[start:].split()) and self.text.rstrip(" ").endswith(">"))
        os.write(self._master, f"{answer}\n".encode())

    def until(self, is_done) -> None:  # type: ignore[no-untyped-def]
        deadline = time.monotonic() + 120
        while not is_done():
            if not select.select([self._master], [], [], max(0, deadline - time.monotonic()))[0]:
                raise AssertionError(f"nothing more came: {self.text}")
            try:
                self.text += os.read(self._master, 65_536).decode(errors="replace").replace("\r\n", "\n")
            except OSError:
                return

    def end(self) -> int:
        self.until(lambda: False)
        os.close(self._master)
        return self.child.wait(timeout=60)


@pytest.mark.slow
def test_the_wizard_asks_for_the_files_first_and_enter_accepts_its_proposals(place: Place) -> None:
    terminal = Terminal(place)
    terminal.answer("Which files, or which folder?", "nothing.csv")
    terminal.answer("there is no nothing.csv", "payments.csv")
    terminal.answer("How is the pipeline called?", "")
    terminal.answer("Which column is to be predicted?", "fraud")
    terminal.answer("Did you mean 'is_fraud'?", "")
    terminal.answer("Which columns name a row?", "")
    terminal.answer("Write 3 files", "")
    assert terminal.end() == 0, terminal.text
    assert "payments.csv: 800 rows, 6 columns" in terminal.text
    assert check_pipeline("payments", place.config)[1] == []


@pytest.mark.slow
def test_with_files_a_terminal_is_asked_only_what_cannot_be_inferred(place: Place) -> None:
    terminal = Terminal(place, "payments.csv")
    terminal.answer("Which column is to be predicted?", "")
    assert terminal.end() == 0, terminal.text
    assert "1 question(s) answered" in terminal.text


@pytest.mark.slow
def test_a_wizard_that_is_told_no_writes_nothing(place: Place) -> None:
    before = place.files
    terminal = Terminal(place)
    for question, answer in (("Which files", "payments.csv"), ("called?", ""), ("predicted?", ""), ("name a row?", "")):
        terminal.answer(question, answer)
    terminal.answer("Write 3 files", "n")
    assert terminal.end() == 130
    assert place.files == before
