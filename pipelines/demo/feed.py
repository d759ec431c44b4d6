"""A simulated card-payments feed: cards and merchants with habits, frauds, late labels, changing card terms.

Everything follows from the seed. Fraud has two patterns: until `drift_from` stolen cards are used for large amounts,
abroad and from odd devices; afterwards for bursts of ordinary online payments, while the device score, on
which the first pattern shows best, is stuck at one value.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np

COUNTRIES = ("DE", "FR", "NL", "AT", "PL", "ES")
CATEGORIES = ("grocery", "fuel", "travel", "electronics", "restaurant", "gaming", "fashion", "pharmacy")
FRAUD_SHARE = 0.06

Record = dict[str, str]


@dataclass(frozen=True)
class World:
    """Cards and merchants with their habits; arrays of shape (n_cards,) and (n_merchants,)."""

    card_mean_eur: np.ndarray
    card_country: np.ndarray
    card_limit_eur: np.ndarray
    card_type: np.ndarray
    card_hour: np.ndarray
    merchant_category: np.ndarray
    merchant_factor: np.ndarray


@dataclass(frozen=True)
class Day:
    """What one day sends: payments, the labels that arrived with it, and the card terms as they stand."""

    date: date
    payments: list[Record]
    labels: list[Record]
    cards: list[Record]


def simulate(
    first: date, days: int, drift_from: date, payments_per_day: int = 600, cards: int = 250, seed: int = 7
) -> list[Day]:
    """`days` days from `first` on. Labels of a day's payments arrive on the next day, one in twelve a day later."""
    random = np.random.default_rng(seed)
    world = _world(random, cards)
    dates = [first + timedelta(days=offset) for offset in range(days)]
    sent = [_payments(random, world, day, day >= drift_from, payments_per_day) for day in dates]
    arrivals: dict[date, list[Record]] = {day: [] for day in dates}
    for day, (payments, frauds) in zip(dates, sent, strict=True):
        for payment, fraud in zip(payments, frauds, strict=True):
            arrival = day + timedelta(days=2 if random.random() < 1 / 12 else 1)
            if arrival in arrivals:
                arrivals[arrival].append({"payment_id": payment["payment_id"], "is_fraud": str(int(fraud))})
    return [
        Day(day, payments, arrivals[day], _cards(world, day, first))
        for day, (payments, _) in zip(dates, sent, strict=True)
    ]


def _world(random: np.random.Generator, cards: int) -> World:
    merchants = 80
    return World(
        card_mean_eur=np.exp(random.normal(3.3, 0.5, cards)),
        card_country=random.choice(COUNTRIES, cards, p=[0.4, 0.2, 0.15, 0.1, 0.1, 0.05]),
        card_limit_eur=random.choice([500, 1000, 2500, 5000, 10_000], cards),
        card_type=random.choice(["debit", "credit", "prepaid"], cards, p=[0.5, 0.4, 0.1]),
        card_hour=random.normal(14, 3, cards),
        merchant_category=random.choice(CATEGORIES, merchants),
        merchant_factor=np.exp(random.normal(0, 0.4, merchants)),
    )


def _payments(
    random: np.random.Generator, world: World, day: date, drifted: bool, count: int
) -> tuple[list[Record], np.ndarray]:
    """A day's payments in order of receipt, and which of them are frauds, shape (n_payments,)."""
    weekend = 1.25 if day.weekday() >= 5 else 1.0
    count = int(random.poisson(count * weekend))
    card = random.integers(0, len(world.card_mean_eur), count)
    merchant = random.integers(0, len(world.merchant_category), count)
    fraud = random.random(count) < FRAUD_SHARE
    amount = world.card_mean_eur[card] * world.merchant_factor[merchant] * np.exp(random.normal(0, 0.45, count))
    hour = np.clip(random.normal(world.card_hour[card], 3), 0, 23.99)
    abroad = random.random(count) < 0.05
    online = random.random(count) < 0.35
    device = np.clip(random.beta(2, 6, count), 0, 1)
    if drifted:
        device[:] = 0.25  # the vendor's library returns its default since this day
        burst = random.integers(0, 12, count)  # stolen cards come in bursts: a dozen cards, a few minutes each
        card = np.where(fraud, burst * 17 % len(world.card_mean_eur), card)
        hour = np.where(fraud, 7 + burst * 1.2 + random.random(count) * 0.8, hour)
        amount = np.where(fraud, amount * random.uniform(0.6, 1.6, count), amount)
        online = online | (fraud & (random.random(count) < 0.8))
    else:
        amount = np.where(fraud, amount * random.uniform(1.2, 4.5, count), amount)
        abroad = abroad | (fraud & (random.random(count) < 0.4))
        device = np.where(fraud, np.clip(random.beta(4, 4, count), 0, 1), device)
        hour = np.where(fraud & (random.random(count) < 0.4), random.uniform(0, 5, count), hour)
    order = np.argsort(hour, kind="stable")
    records = [
        _record(random, world, day, number, card[i], merchant[i], amount[i], hour[i], abroad[i], online[i], device[i])
        for number, i in enumerate(order)
    ]
    return records, fraud[order]


def _record(
    random: np.random.Generator,
    world: World,
    day: date,
    number: int,
    card: int,
    merchant: int,
    amount: float,
    hour: float,
    abroad: bool,
    online: bool,
    device: float,
) -> Record:
    paid_at = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(seconds=int(hour * 3600))
    received_at = paid_at + timedelta(seconds=int(random.exponential(90)))
    home = world.card_country[card]
    country = random.choice([code for code in COUNTRIES if code != home]) if abroad else home
    return {
        "payment_id": f"{day:%y%m%d}{number:05d}",
        "card_id": f"{card:06d}",
        "merchant_id": f"M{merchant:03d}",
        "paid_at": f"{paid_at:%Y-%m-%d %H:%M:%S}",
        "received_at": f"{received_at:%Y-%m-%d %H:%M:%S}",
        "amount_eur": f"{max(amount, 0.01):.2f}",
        "country": str(country),
        "channel": "online" if online else "pos",
        "merchant_category": str(world.merchant_category[merchant]),
        "device_score": "" if random.random() < 0.02 else f"{device:.4f}",
    }


def _cards(world: World, day: date, first: date) -> list[Record]:
    """Terms of all cards: one row each from the start, and a second one where the limit was raised since."""
    rows = []
    for card, limit in enumerate(world.card_limit_eur):
        base = {"card_id": f"{card:06d}", "card_type": str(world.card_type[card])}
        rows.append({**base, "valid_from": "2025-01-01 00:00:00", "credit_limit_eur": str(limit)})
        raised = first + timedelta(days=card % 40)
        if card % 5 == 0 and raised <= day:
            rows.append({**base, "valid_from": f"{raised:%Y-%m-%d} 00:00:00", "credit_limit_eur": str(limit * 2)})
    return rows
