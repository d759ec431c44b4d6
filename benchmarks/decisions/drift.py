"""How often quiet days are called drift, and how many days real changes take to be found.

python -m benchmarks.decisions.drift [--quick]

Simulated days of fifty columns (drift_streams.py), judged by the product's own functions and by two rules in common
use: Evidently's DataDriftPreset as shipped (half of the columns beyond their tests; its own tests and thresholds are
called, not its report, which takes many seconds for one day), and Kolmogorov-Smirnov p < 0.05 in any column. Those two
get one week as reference. Prints Markdown tables; seeded.
"""

from __future__ import annotations

import argparse
import math
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from statistics import median

import numpy as np
import pandas as pd

from benchmarks.decisions.drift_streams import (
    CATEGORIES,
    CHANGES,
    COLUMNS,
    FLAGS,
    IMPORTANCE,
    NAMES,
    NUMBERS,
    PATTERNS,
    REFERENCE_DAYS,
    Stream,
    trained,
)
from pipelines.monitoring.concept import Losses, concept_drift
from pipelines.monitoring.decision import Decision, Facts, Vote, decide
from pipelines.monitoring.verdict import judge_partition
from pipelines.settings.monitor import Monitor

ROWS = (1_000, 20_000)
STREAMS, QUIET_DAYS, HORIZON = 20, 30, 20
RIVAL_DAYS = 2  # quiet days of each stream that the other rules judge
WEEK = 7
Rule = Callable[[pd.DataFrame, pd.DataFrame], bool]


def judged(stream: Stream, days: int, change: str | None, settings: Monitor) -> Iterator[tuple[Vote, Decision]]:
    """What the product says on each day after the reference."""
    reference = trained(stream.seed, stream.rows, stream.pattern, settings.weekday_profile)
    votes: list[Vote] = []
    asked: int | None = None
    for place in range(1, days + 1):
        day = REFERENCE_DAYS + place
        offsets = stream.offsets(day, change, place)
        profile = stream.profile(offsets, dead=change == "dead column")
        found = judge_partition(reference, profile, stream.rows, IMPORTANCE, settings, stream.weekday(day))
        votes.append(Vote(f"{day:04d}", found.grade, found.reasons))
        since = None if asked is None else place - asked
        decision = decide(votes, settings, Facts(REFERENCE_DAYS, since, 100_000))
        asked = place if decision.outcome == "RETRAIN" else asked
        yield votes[-1], decision


def quiet(pattern: str, rows: int, settings: Monitor, streams: int, days: int) -> dict[str, float]:
    """Per 100 quiet days: RETRAIN outcomes, days with an alarm, days to look at."""
    counts: Counter[str] = Counter()
    for seed in range(streams):
        for vote, decision in judged(Stream(seed, rows, pattern, 1), days, None, settings):
            counts[vote.grade] += 1
            counts[decision.outcome] += 1
    return {name: 100 * counts[name] / (streams * days) for name in ("RETRAIN", "alarm", "watch")}


def found_after(pattern: str, rows: int, change: str, streams: int) -> tuple[list[float], list[float]]:
    """Days until the first alarm and until RETRAIN per stream, 1 for the first day of the change."""
    alarms, retrains = [], []
    for seed in range(streams):
        days = []
        for one in judged(Stream(seed, rows, pattern, 2 + CHANGES.index(change)), HORIZON, change, Monitor()):
            days.append(one)
            if one[1].outcome == "RETRAIN":
                break
        alarms.append(_first(vote.grade == "alarm" for vote, _ in days))
        retrains.append(_first(decision.outcome == "RETRAIN" for _, decision in days))
    return alarms, retrains


def evidently(reference: pd.DataFrame, current: pd.DataFrame) -> bool:
    from evidently.legacy.calculations.stattests import get_stattest

    drifted = 0
    for place, name in enumerate(NAMES):
        kind = "num" if place < NUMBERS + FLAGS else "cat"
        test = get_stattest(reference[name], current[name], kind, None)
        drifted += bool(test(reference[name], current[name], kind, None).drifted)
    return drifted >= COLUMNS / 2


def any_column(reference: pd.DataFrame, current: pd.DataFrame) -> bool:
    from scipy.stats import ks_2samp

    return any(
        ks_2samp(reference[name], current[name], method="asymp").pvalue < 0.05 for name in NAMES[: NUMBERS + FLAGS]
    )


RULES: dict[str, Rule] = {"Evidently preset": evidently, "KS in any column": any_column}


def rivals_quiet(pattern: str, streams: int) -> dict[str, float]:
    """Days per 100 that each rule calls drift although nothing changed, 1,000 rows a day."""
    counts: Counter[str] = Counter()
    for seed in range(streams):
        stream, reference = _with_week(seed, pattern)
        for _ in range(RIVAL_DAYS):
            current = stream.frame(stream.offsets(int(stream.random.integers(28, 56))))
            counts.update(name for name, rule in RULES.items() if rule(reference, current))
    return {name: 100 * counts[name] / (streams * RIVAL_DAYS) for name in RULES}


def rivals_after(change: str, streams: int) -> dict[str, list[float]]:
    """Days until each rule finds the change; only the first and the last day are tried."""
    found: dict[str, list[float]] = {name: [] for name in RULES}
    for seed in range(streams):
        stream, reference = _with_week(seed, "steady")
        waiting = dict(RULES)
        for since in (1, HORIZON):
            current = stream.frame(stream.offsets(28 + since, change, since), dead=change == "dead column")
            for name in [name for name, rule in waiting.items() if rule(reference, current)]:
                found[name].append(since)
                del waiting[name]
        for name in waiting:
            found[name].append(math.inf)
    return found


def _with_week(seed: int, pattern: str) -> tuple[Stream, pd.DataFrame]:
    stream = Stream(seed, 1_000, pattern)
    return stream, pd.concat([stream.frame(stream.offsets(day)) for day in range(WEEK)], ignore_index=True)


def loss_days(seed: int, labels: int, days: int, weaker_from: int | None, weaker: float) -> Losses:
    """Brier scores of calibrated scores per day; from one day on, labels follow the scores less, by a share."""
    random = np.random.default_rng([seed, labels])
    realised, expected = {}, {}
    for day in range(days):
        chance = random.beta(1, 4 if day % 7 < 5 else 3, labels)
        share = weaker if weaker_from is not None and day >= weaker_from else 0.0
        truth = (1 - share) * chance + share * chance.mean()
        key = f"{day:03d}"
        realised[key] = float(((random.random(labels) < truth) - chance).__pow__(2).mean())
        expected[key] = float((chance * (1 - chance)).mean())
    return Losses("the Brier score", realised, expected)


def concept_days(labels: int, weaker: float | None, streams: int) -> list[float]:
    """Days with an alarm per 100 in each quiet stream, or days until the first alarm of a change on day 28."""
    start, days = 28, 128 if weaker is None else 28 + 2 * HORIZON
    found = []
    for seed in range(streams):
        losses = loss_days(seed, labels, days, None if weaker is None else start, weaker or 0.0)
        keys = list(losses.realised)
        said = [
            bool(concept_drift(_until(losses, keys[max(0, day - 59) : day + 1]), Monitor().loss_rise)[0])
            for day in range(start, days)
        ]
        found.append(float(sum(said)) if weaker is None else _first(said))
    return found


def _until(losses: Losses, keys: list[str]) -> Losses:
    parts = ({key: values[key] for key in keys} for values in (losses.realised, losses.expected))
    return Losses(losses.what, *parts)


def _first(said: Iterable[bool]) -> float:
    return next((place for place, one in enumerate(said, start=1) if one), math.inf)


def _days(found: list[float]) -> str:
    """Median; the slowest stream where it differs; in how many of the streams it was found at all if not in each."""
    middle, known = median(found), [one for one in found if math.isfinite(one)]
    text = f"{middle:g}" if math.isfinite(middle) else "never"
    if 0 < len(known) < len(found):
        return f"{text} (in {len(known)} of {len(found)})"
    return f"{text} (slowest {max(known):g})" if known and max(known) > middle else text


def tables(quick: bool = False) -> str:
    """Markdown of all tables; seeded."""
    warnings.simplefilter("ignore")
    streams, days = (4, 10) if quick else (STREAMS, QUIET_DAYS)
    parts = [
        "## Drift",
        f"{streams} simulated streams, {COLUMNS} columns ({NUMBERS} numbers, {FLAGS} flags, {CATEGORIES} categories), "
        f"{REFERENCE_DAYS} reference days, default settings.",
        _quiet_table(streams, days),
        _change_table(streams),
        _concept_table(streams),
    ]
    return "\n\n".join(parts) + "\n"


def _quiet_table(streams: int, days: int) -> str:
    lines = [
        f"Calls of drift per 100 quiet days ({streams * days:,} days a row; the other rules {streams * RIVAL_DAYS}, "
        "with 1,000 rows). Weekly: on weekends 30 columns lie 0.5 sd higher. Wobbling: each mean "
        "moves by 0.05 sd a day.",
        "",
        "| days | rows a day | RETRAIN | alarm | to look at | Evidently preset | KS in any column |",
        "|---|---|---|---|---|---|---|",
    ]
    for pattern in PATTERNS:
        others = rivals_quiet(pattern, streams)
        for rows in ROWS:
            own = quiet(pattern, rows, Monitor(), streams, days)
            told = [f"{others[name]:.0f}" if rows == ROWS[0] else "" for name in RULES]
            figures = [f"{own[name]:.1f}" for name in ("RETRAIN", "alarm", "watch")]
            lines.append(f"| {pattern} | {rows:,} | {' | '.join([*figures, *told])} |")
    blind = quiet("weekly", ROWS[0], Monitor(weekday_profile="never"), max(2, streams // 4), days)
    figures = [f"{blind[name]:.1f}" for name in ("RETRAIN", "alarm", "watch")]
    lines.append(f"| weekly, `weekday_profile: never` | {ROWS[0]:,} | {' | '.join(figures)} | | |")
    return "\n".join(lines)


def _change_table(streams: int) -> str:
    lines = [
        f"Days until a change of one column with 4 % of the importance is found, median (1: the same day; at most "
        f"{HORIZON}). The other rules see steady days of 1,000 rows.",
        "",
        "| change | days | rows a day | alarm | RETRAIN | Evidently preset | KS in any column |",
        "|---|---|---|---|---|---|---|",
    ]
    for change in CHANGES:
        others = rivals_after(change, streams)
        for pattern in PATTERNS:
            for rows in ROWS:
                alarms, retrains = found_after(pattern, rows, change, streams)
                has_rivals = pattern == "steady" and rows == ROWS[0]
                told = [_days(others[name]) if has_rivals else "" for name in RULES]
                cells = [change, pattern, f"{rows:,}", _days(alarms), _days(retrains), *told]
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _concept_table(streams: int) -> str:
    lines = [
        "Change of concept by matured labels (calibrated scores, mean label 0.2): days with an alarm per 100 quiet "
        "days, and median days until the alarm after labels follow the scores less by a share.",
        "",
        "| labels a day | quiet | 30 % less | 60 % less |",
        "|---|---|---|---|",
    ]
    for labels in (200, 1_000, 5_000):
        falsely = float(np.mean(concept_days(labels, None, streams)))
        cells = [_days(concept_days(labels, share, streams)) for share in (0.3, 0.6)]
        lines.append(f"| {labels:,} | {falsely:.1f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few streams, to see that it runs")
    print(tables(parser.parse_args().quick))


if __name__ == "__main__":
    main()
