"""The scripted bad week: what each night sends, what is repaired in the morning, and what the reader is told."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from rich.console import Console
from rich.progress import Progress

from pipelines.demo import inbox
from pipelines.demo.feed import Day, simulate
from pipelines.demo.narrate import day_lines, places, retrain_lines
from pipelines.errors import ConfigError
from pipelines.home import Home
from pipelines.ledger import Ledger
from pipelines.report.morning import write_morning
from pipelines.runs.local import LocalAirflow, local_airflow, retrain, run_day

PIPELINE = "card_payments"
FIRST = date(2026, 3, 1)
HISTORY_DAYS = 16
NIGHTS = 9
DRIFT_FROM = FIRST + timedelta(days=HISTORY_DAYS + 4)


@dataclass(frozen=True)
class Night:
    """One night: its title, what is put into the inbox before it, and what somebody repairs after it."""

    date: date
    title: str
    deliver: Callable[[], None]
    repair: Callable[[], None] | None = None
    retrain: bool = False
    repair_title: str = ""


def history(days: list[Day], home: Home) -> list[date]:
    """Delivers the quiet days before the week and returns their dates."""
    folder = home.root / "inbox"
    for day in days[:HISTORY_DAYS]:
        inbox.deliver(day, folder)
    return [day.date for day in days[:HISTORY_DAYS]]


def simulated_days() -> list[Day]:
    return simulate(FIRST, HISTORY_DAYS + NIGHTS, DRIFT_FROM)


def script(days: list[Day], home: Home) -> list[Night]:
    """The nights after the history, in order."""
    folder = home.root / "inbox"
    week = days[HISTORY_DAYS:]

    def payments_file(night: int) -> str:
        return f"payments/{week[night].date}.csv.gz"

    def whole(night: int) -> Callable[[], None]:
        return lambda: inbox.deliver(week[night], folder)

    def broken_rows() -> None:
        whole(1)()
        content = inbox.broken(week[1].payments, week[0].payments, seed=1)
        inbox.write_bytes(folder / payments_file(1), content)

    def renamed_column() -> None:
        whole(2)()
        inbox.write_csv(folder / payments_file(2), inbox.without_column(week[2].payments, "amount_eur"))

    def poisoned_labels() -> None:
        whole(3)()
        wrong = inbox.poisoned(days[HISTORY_DAYS - 6 : HISTORY_DAYS + 4], share=0.4, seed=2)
        inbox.write_csv(folder / f"chargebacks/{week[3].date}.csv", wrong)

    def corrected_labels() -> None:
        whole(4)()
        right = [label for day in days[HISTORY_DAYS - 6 : HISTORY_DAYS + 5] for label in day.labels]
        inbox.write_csv(folder / f"chargebacks/{week[4].date}.csv", right)

    return [
        Night(week[0].date, "a healthy night", whole(0)),
        Night(week[1].date, "broken rows and re-sent duplicates", broken_rows),
        Night(
            week[2].date,
            "the exporter renamed a column",
            renamed_column,
            repair=whole(2),
            repair_title="the file is sent again, right this time",
        ),
        Night(week[3].date, "poisoned labels, just before the weekly retrain", poisoned_labels, retrain=True),
        Night(week[4].date, "labels corrected; a dead feature and a new fraud pattern begin", corrected_labels),
        *(Night(week[number].date, "the new pattern goes on", whole(number)) for number in range(5, NIGHTS)),
    ]


def run_demo(home: Home) -> int:
    """Runs the month and the bad week in a fresh home; returns the exit code.

    Raises:
        ConfigError: E-DEMO-HOME when the home already holds runs of the demo's pipeline.
    """
    ledger = Ledger(home.ledger_url)
    if ledger.accounting(PIPELINE):
        raise ConfigError(
            "E-DEMO-HOME",
            str(home.root),
            "the demo needs a home without earlier runs of 'card_payments'",
            f"Look at it with 'nightshift --home {home.root} status', remove the folder, or name another with --home.",
        )
    console, started = Console(highlight=False, soft_wrap=True), time.monotonic()
    days = simulated_days()
    with local_airflow(home) as airflow:
        story = _Story(home, ledger, airflow, console)
        story.tell_history(history(days, home))
        for night in script(days, home):
            story.tell_night(night)
        story.tell_rollback()
    write_morning(home)
    console.print(f"\nDone in {time.monotonic() - started:.0f} s. Where everything lies:")
    for what, path in places(home, PIPELINE):
        console.print(f"  {what:28}{path}", markup=False)
    command = f".venv/bin/nightshift --home {home.root}"
    console.print(f"Next: '{command} status {PIPELINE}', or '{command} up' for the Airflow UI.", markup=False)
    return 1 if story.unexpected else 0


class _Story:
    """Runs nights and tells them; remembers what did not go as scripted."""

    def __init__(self, home: Home, ledger: Ledger, airflow: LocalAirflow, console: Console) -> None:
        self.home, self.ledger, self.airflow, self.console = home, ledger, airflow, console
        self.unexpected: list[str] = []

    def tell_history(self, dates: list[date]) -> None:
        retrained: list[dict[str, Any]] = []
        with Progress(console=self.console, transient=True) as progress:
            task = progress.add_task(f"{len(dates)} quiet nights before the week", total=len(dates))
            for day in dates:
                runs = run_day(self.airflow, PIPELINE, str(day))
                for event in runs:
                    self._expect(event["state"] == "success", event)
                retrained += runs[1:]
                progress.advance(task)
        rows = self.ledger.accounting(PIPELINE)
        totals = {name: sum(row[name] for row in rows) for name in ("read", "clean", "quarantined", "duplicate")}
        self.console.print(
            f"{dates[0]} to {dates[-1]}  {len(dates)} quiet nights: read {totals['read']:,} = {totals['clean']:,} "
            f"clean + {totals['quarantined']:,} quarantined + {totals['duplicate']:,} duplicate"
        )
        for event in retrained:
            self._print(retrain_lines(self.ledger, PIPELINE, event))

    def tell_night(self, night: Night) -> None:
        night.deliver()
        self._run(str(night.date), night.title, refusal_expected=night.repair is not None)
        if night.repair:
            night.repair()
            self._run(str(night.date), night.repair_title, refusal_expected=False)
        if night.retrain:
            event = retrain(self.airflow, PIPELINE, str(night.date), "the weekly schedule")
            self._print(retrain_lines(self.ledger, PIPELINE, event))

    def tell_rollback(self) -> None:
        before = self.ledger.champion(PIPELINE)
        last = self.ledger.accounting(PIPELINE)[-1]["partition"]
        event = self.airflow.run(f"{PIPELINE}__rollback", last, {"reason": "the demo takes the promotion back"})
        after = self.ledger.champion(PIPELINE)
        self._expect(event["state"] == "success", event)
        if event["state"] == "success" and before and after:
            self.console.print(f"{last}  somebody takes the promotion back")
            self.console.print(
                f"            rollback: version {before['version']} -> {after['version']}, for partitions from "
                f"{after['effective_from']:%Y-%m-%d} on; released scores stay as they are"
            )

    def _run(self, partition: str, title: str, refusal_expected: bool) -> None:
        events = run_day(self.airflow, PIPELINE, partition)
        failed = events[0] if events[0]["state"] != "success" else None
        self._expect((failed is not None) == refusal_expected, events[0])
        self._print(day_lines(self.ledger, PIPELINE, partition, title, failed))
        for event in events[1:]:
            self._print(retrain_lines(self.ledger, PIPELINE, event))

    def _print(self, lines: tuple[str, ...]) -> None:
        for line in lines:
            self.console.print(line, markup=False)

    def _expect(self, as_scripted: bool, event: dict[str, Any]) -> None:
        if not as_scripted:
            self.unexpected.append(f"{event['dag_id']} {event['partition']}: {event['state']} {event['error'] or ''}")
            self.console.print(f"            NOT AS SCRIPTED  {self.unexpected[-1]}", markup=False)
