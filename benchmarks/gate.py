"""How often the gate promotes a model that is no better, and how often it sees a true gain.

python -m benchmarks.gate [--nights 100]

Scores are drawn, not trained: label 1 in one row of ten, two models whose scores follow the label with known ROC AUC
and are correlated (0.9) as those of a nightly retrain are. A/A: both equally good, so each promotion is a false one.
Prints Markdown tables; seeded, so that a second run prints the same.
"""

from __future__ import annotations

import argparse
import math
from statistics import NormalDist

import numpy as np

from pipelines.training.bootstrap import compare
from pipelines.training.metrics import metric
from pipelines.training.policy import POLICIES

HOLDOUTS = (500, 2_000, 10_000)
GAINS = (0.02,)
POSITIVE_SHARE = 0.1
CHAMPION_AUC = 0.80
CORRELATION = 0.9


def separation(auc: float) -> float:
    """Distance of the means of two unit normals whose ROC AUC is `auc`."""
    return math.sqrt(2) * NormalDist().inv_cdf(auc)


def night(random: np.random.Generator, rows: int, gain: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, challenger and champion scores `(rows,)` of one holdout."""
    labels = (random.random(rows) < POSITIVE_SHARE).astype(float)
    shared, *own = random.normal(size=(3, rows))
    mixed = [math.sqrt(CORRELATION) * shared + math.sqrt(1 - CORRELATION) * one for one in own]
    return (
        labels,
        separation(CHAMPION_AUC + gain) * labels + mixed[0],
        separation(CHAMPION_AUC) * labels + mixed[1],
    )


def promoted(nights: int, rows: int, gain: float) -> dict[str, float]:
    """Promotions per 100 nights by each rule, on the same nights."""
    policy = POLICIES["default"]
    counts = {"new >= old": 0, "default policy": 0}
    for number in range(nights):
        labels, challenger, champion = night(np.random.default_rng([rows, number]), rows, gain)
        counts["new >= old"] += metric("roc_auc", labels, challenger) >= metric("roc_auc", labels, champion)
        found = compare(
            "roc_auc",
            labels,
            challenger,
            champion,
            confidence=policy.confidence,
            resamples=policy.resamples,
            seed=number,
        )
        counts["default policy"] += bool(found.lower > policy.margin)
    return {name: 100 * count / nights for name, count in counts.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nights", type=int, default=100)
    nights = parser.parse_args().nights
    print(
        f"Promotions per 100 nights ({nights} nights each, champion AUC {CHAMPION_AUC}, {POSITIVE_SHARE:.0%} positive)"
    )
    print()
    print("| true gain in AUC | holdout rows | new >= old | default policy |")
    print("|---|---|---|---|")
    for gain in (0.0, *GAINS):
        for rows in HOLDOUTS:
            found = promoted(nights, rows, gain)
            label = "none (A/A: all false)" if not gain else f"+{gain:.2f}"
            print(f"| {label} | {rows:,} | {found['new >= old']:.1f} | {found['default policy']:.1f} |", flush=True)


if __name__ == "__main__":
    main()
