"""The scripted bad week: what each night sends, what is repaired in the morning, and what the reader is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

from pipelines.demo import inbox
from pipelines.demo.feed import Day, simulate
from pipelines.home import Home

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
