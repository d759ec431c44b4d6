"""Writes simulated days as the files that a partner would send, whole or broken on purpose."""

from __future__ import annotations

import csv
import gzip
import io
import os
import random
from pathlib import Path

from pipelines.demo.feed import Day, Record


def deliver(day: Day, inbox: Path) -> None:
    """Puts the day's three files into the inbox (two on a day without labels); the same day gives the same bytes."""
    write_csv(inbox / "payments" / f"{day.date}.csv.gz", day.payments)
    if day.labels:
        write_csv(inbox / "chargebacks" / f"{day.date}.csv", day.labels)
    write_csv(inbox / "cards" / f"{day.date}.csv", day.cards)


def write_csv(path: Path, rows: list[Record]) -> None:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_bytes(path, text.getvalue().encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Atomically; a gzip without time stamp where the name asks for one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".gz":
        content = gzip.compress(content, mtime=0)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content)
    os.replace(partial, path)


def broken(rows: list[Record], earlier: list[Record], seed: int) -> bytes:
    """The day's file as a failing exporter sends it.

    30 rows of the day before and 12 of this day once more, 3 corrected amounts under the same payment, and nine rows
    that no pipeline should believe.
    """
    chance = random.Random(seed)
    names = list(rows[0])
    corrections = [
        {
            **row,
            "amount_eur": f"{float(row['amount_eur']) + 1:.2f}",
            "received_at": row["received_at"][:11] + "23:59:59",
        }
        for row in rows[20:23]
    ]
    body = [_line(row, names) for row in [*rows, *earlier[:30], *rows[:12], *corrections]]
    for fault in _bad_lines(rows, names):
        body.insert(chance.randrange(len(body)), fault)
    return b"\n".join([",".join(names).encode(), *body]) + b"\n"


def _bad_lines(rows: list[Record], names: list[str]) -> list[bytes]:
    """One line for each way of being wrong: unreadable ones first, then readable ones that break a rule."""
    bad = [{**row, "payment_id": f"BAD{number}"} for number, row in enumerate(rows[:9])]
    return [
        _line(bad[0], names).rsplit(b",", 2)[0],  # two fields short
        _line(bad[1], names) + b",surplus",
        _line({**bad[2], "amount_eur": "12.5O"}, names),  # the letter O
        _line({**bad[3], "channel": "p\xf6s"}, names, "latin-1"),
        _line({**bad[4], "merchant_id": '"M001'}, names),  # a quote that never closes
        _line({**bad[5], "card_id": ""}, names),
        _line({**bad[6], "paid_at": "2036-01-01 00:00:00"}, names),
        _line({**bad[7], "amount_eur": "-25.00"}, names),
        _line({**bad[8], "country": "XX"}, names),
    ]


def _line(row: Record, names: list[str], encoding: str = "utf-8") -> bytes:
    return ",".join(row[name] for name in names).encode(encoding)


def without_column(rows: list[Record], column: str) -> list[Record]:
    """The file of an exporter that renamed a column."""
    return [{("amt" if name == column else name): value for name, value in row.items()} for row in rows]


def poisoned(days: list[Day], share: float, seed: int) -> list[Record]:
    """Labels that call `share` of good payments of these days frauds: a faulty job of the partner, corrected later."""
    chance = random.Random(seed)
    return [
        {**label, "is_fraud": "1"} if label["is_fraud"] == "0" and chance.random() < share else label
        for day in days
        for label in day.labels
    ]
