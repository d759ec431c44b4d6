"""How often the gate promotes a model that is no better, and how often it sees a true gain.

python -m benchmarks.decisions.gate [--quick]

A/A: both models are equally good, so that each promotion is a false one. A bound is never above the one of the normal
distribution (`pipelines.training.tails`): a night that does not pass that one needs no resamples to be known as a HOLD,
and thousands of nights take minutes. Seeded: a second run prints the same.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterator
from statistics import NormalDist

import numpy as np

from benchmarks.decisions.simulated import CHAMPION_AUC, CORRELATION, Night, Setting, night, separation
from pipelines.training.bootstrap import resample
from pipelines.training.policy import NIGHTLY, POLICIES
from pipelines.training.resampling import Gain, Units

POLICY = POLICIES["default"]
ALPHA = POLICY.alpha(NIGHTLY)
EVER, MARGIN, BOUND, DEFAULT = "new >= old", "margin only (+0.01)", "95 % bound every night", "default policy"
RULES = (EVER, MARGIN, BOUND, DEFAULT)
_MARGIN = 0.01
SETTINGS = (
    Setting("10 % positive"),
    Setting("2 % positive", positive_share=0.02),
    Setting("50 % positive", positive_share=0.5),
    Setting("groups of 10 rows", is_grouped=True),
    Setting("regression, rmse", metric="rmse"),
)
# Nights per size of the holdout: enough to tell 5 in 100, in the time that they take.
NIGHTS = {500: 5_000, 2_000: 2_000, 10_000: 600, 20_000: 400}
GAINS = (0.005, 0.01, 0.02)
POWER_NIGHTS = {500: 200, 2_000: 100, 10_000: 50, 20_000: 50}
YEARS, DAYS, ROWS_PER_DAY, HOLDOUT_DAYS = 20, 365, 2_857, 7


def promoted(one: Night, metric: str, seed: int, rules: tuple[str, ...] = RULES) -> Counter[str]:
    """Which of the rules promote this challenger. The bound of 95 % is counted by the normal distribution."""
    units = Units.of(one.labels, one.groups)
    gains, standard_errors = Gain(metric, one.labels, one.challenger, one.champion, units).measured(
        np.ones((1, units.count))
    )
    gain, error = float(gains[0]), float(standard_errors[0])
    scale = 1.0 if metric == "roc_auc" else _rmse(one)
    found = Counter({EVER: gain >= 0, MARGIN: gain > _MARGIN * scale})
    found[BOUND] = gain > NormalDist().inv_cdf(POLICY.confidence) * error
    # The product's bound is never above this one.
    if DEFAULT in rules and gain > NormalDist().inv_cdf(1 - ALPHA) * error:
        drawn = resample(
            metric,
            one.labels,
            one.challenger,
            one.champion,
            resamples=POLICY.resamples,
            seed=seed,
            groups=one.groups,
        )
        found[DEFAULT] = drawn.compared(1 - ALPHA).lower > POLICY.margin
    return found


def _rmse(one: Night) -> float:
    return float(np.sqrt(((one.labels - one.champion) ** 2).mean()))


def share(setting: Setting, rows: int, nights: int, gain: float = 0.0) -> dict[str, float]:
    """Promotions per 100 nights by each rule, on the same nights."""
    counts: Counter[str] = Counter()
    for number in range(nights):
        random = np.random.default_rng([rows, number, int(1e4 * gain)])
        counts.update(promoted(night(random, setting, rows, gain), setting.metric, number))
    return {rule: 100 * counts[rule] / nights for rule in RULES}


def year(seed: int, days: int = DAYS) -> Counter[str]:
    """Promotions in one year of A/A nights: each night another challenger on the last seven days, which are the rows
    of the night before but for one day. Whom the default policy promotes is the champion from then on, with its luck on
    these days; the other rules are asked about the same pairs."""
    counts: Counter[str] = Counter()
    random, rows = np.random.default_rng([seed, 7]), ROWS_PER_DAY * HOLDOUT_DAYS
    labels, shared, champion = _day(random, rows)
    for number in range(days):
        fresh = _day(random, ROWS_PER_DAY)
        labels, shared, champion = (
            np.concatenate([old[ROWS_PER_DAY:], new])
            for old, new in zip((labels, shared, champion), fresh, strict=True)
        )
        own = random.standard_normal(rows)
        challenger = separation(CHAMPION_AUC) * labels + CORRELATION**0.5 * shared + (1 - CORRELATION) ** 0.5 * own
        found = promoted(Night(labels, challenger, champion), "roc_auc", number)
        counts.update(found)
        champion = challenger if found[DEFAULT] else champion
    return counts


def _day(random: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, the errors that all models share, and the champion's scores."""
    labels = (random.random(rows) < SETTINGS[0].positive_share).astype(float)
    shared, own = random.standard_normal((2, rows))
    scores = separation(CHAMPION_AUC) * labels + CORRELATION**0.5 * shared + (1 - CORRELATION) ** 0.5 * own
    return labels, shared, scores


def _aa_table(part: float) -> Iterator[str]:
    yield f"False promotions per 100 A/A nights (default policy: {100 * (1 - ALPHA):.4g} % bound):"
    yield ""
    yield _row("holdout", "rows", "nights", *RULES)
    yield _row(*["---"] * 7)
    for setting in SETTINGS:
        for rows, nights in NIGHTS.items():
            count = max(20, int(nights * part))
            found = share(setting, rows, count)
            yield _row(setting.name, f"{rows:,}", f"{count:,}", *(f"{found[rule]:.2f}" for rule in RULES))


def _year_table(years: int, days: int) -> Iterator[str]:
    found = [year(seed, days) for seed in range(years)]
    yield f"False promotions per simulated year: {years} years of {days} nights, {ROWS_PER_DAY * HOLDOUT_DAYS:,} rows,"
    yield f"six in seven of them in the holdout of the night before, too; budget {POLICY.false_promotions_per_year:g}:"
    yield ""
    yield _row("", *RULES)
    yield _row(*["---"] * 5)
    for name, value in (("mean", np.mean), ("worst year", np.max)):
        yield _row(name, *(f"{value([one[rule] for one in found]):.2f}" for rule in RULES))


def _power_table(part: float) -> Iterator[str]:
    yield f"Promotions per 100 nights of a challenger that is better (champion ROC AUC {CHAMPION_AUC}, 10 % positive):"
    yield ""
    yield _row("true gain", "rows", "nights", *RULES)
    yield _row(*["---"] * 7)
    for gain in GAINS:
        for rows, nights in POWER_NIGHTS.items():
            count = max(10, int(nights * part))
            found = share(SETTINGS[0], rows, count, gain)
            yield _row(f"+{gain:g}", f"{rows:,}", f"{count:,}", *(f"{found[rule]:.0f}" for rule in RULES))


def _speed_table(rows: int) -> Iterator[str]:
    one = night(np.random.default_rng(1), SETTINGS[0], rows)
    chance = [1 / (1 + np.exp(-scores)) for scores in (one.challenger, one.champion)]
    yield f"{POLICY.resamples:,} resamples of {rows:,} rows, both models, one core:"
    yield ""
    yield _row("metric", "CPU seconds")
    yield _row("---", "---")
    for metric in ("roc_auc", "pr_auc", "log_loss"):
        started = time.process_time()
        resample(metric, one.labels, *chance, resamples=POLICY.resamples, seed=1)
        yield _row(metric, f"{time.process_time() - started:.1f}")


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def tables(quick: bool = False) -> str:
    """Markdown. `quick`: a fiftieth of the nights, to see that it runs."""
    part = 0.02 if quick else 1.0
    parts = [
        _aa_table(part),
        _year_table(*((1, 30) if quick else (YEARS, DAYS))),
        _power_table(part),
        _speed_table(5_000 if quick else 100_000),
    ]
    return "\n\n".join("\n".join(part) for part in parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    print(tables(parser.parse_args().quick))


if __name__ == "__main__":
    main()
