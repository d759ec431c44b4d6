"""How well the data gate tells a spoilt day from a clean one: errors put into real daily data.

python -m benchmarks.decisions.data_gate [--data ../shared/data] [--quick]

In the way of Redyuk et al., "Automating Data Quality Validation for Dynamic Data Ingestion" (EDBT 2021): each judged
day is compared with the days before it, once as it was and once for each error and share of spoilt rows. ROC AUC is
that of the scores of spoilt days against those of all clean days judged (0.5: no better than a coin). Recall is the
share of spoilt days above the limit of the product; false alarms are clean days above it. Beside the product's own
judgement stand, on the same days: the method of that paper, made anew from its description (mean distance to the 5
nearest past days, of completeness, distinct values, most frequent value, peculiarity and moments, scaled to 0..1;
limit: the largest 1 % of the past days' own distances), and a hand-written rule (mean of each column within 3 standard
deviations of its past, no more missing values than ever).
"""

from __future__ import annotations

import argparse
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.decisions.daily_feeds import (
    BIKE_ERRORS,
    RETAIL_ERRORS,
    Feed,
    bike_sharing,
    online_retail,
    start_of,
)
from benchmarks.decisions.data_errors import Injected
from pipelines.validate.anomaly import Judge, Past
from pipelines.validate.coded import coded
from pipelines.validate.profile import Profile, described_column, orders_of, profile
from pipelines.validate.relations import relations_of

SHARES = (0.01, 0.05, 0.1, 0.2, 0.5, 0.8)
WARM_UP, HISTORY = 60, 365  # `min_history` and `history_partitions` of the settings
_THEIRS = ("missing", "distinct_count", "most_frequent", "min", "max", "mean", "std", "peculiarity")
_NEIGHBOURS, _CONTAMINATION = 5, 0.01
METHODS = ("Nightshift", "5 nearest days", "3 sigma by hand")

Scorer = Callable[[Profile], tuple[float, float]]  # score and limit


@dataclass(frozen=True)
class Case:
    """One judged day: clean (kind None) or spoilt; per method its score over its limit, so that days compare."""

    kind: str | None
    share: float
    scores: tuple[float, ...]


def judged(feed: Feed, errors: Sequence[Injected], clean_days: int, spoilt_days: int) -> list[Case]:
    """Clean and spoilt versions of days that lie evenly over the feed, each judged by the days before it."""
    keys = list(feed)
    past = [Past(key, date.fromisoformat(key).weekday(), profile(feed[key], start_of(key))) for key in keys]
    chosen = np.unique(np.linspace(WARM_UP, len(keys) - 1, clean_days).astype(int))
    spoilt = set(chosen[:: max(1, len(chosen) // spoilt_days)].tolist())
    found = []
    for at in chosen.tolist():
        history = past[max(0, at - HISTORY) : at]
        scorers = (_ours(history, past[at].season), _nearest(history), _by_hand(history))
        found.append(Case(None, 0.0, _scores(scorers, past[at].profile)))
        for number, error in enumerate(errors if at in spoilt else ()):
            for share in SHARES:
                rows = error.into(feed[keys[at]], share, [at, number, round(100 * share)])
                version = _again(past[at].profile, rows, error, keys[at])
                found.append(Case(error.kind, share, _scores(scorers, version)))
    return found


def _again(clean: Profile, rows: pa.Table, error: Injected, key: str) -> Profile:
    """The profile of spoilt rows; columns that the error does not touch look as before."""
    columns = {name: coded(rows.column(name), start_of(key)) for name in rows.column_names}
    described = {name: described_column(columns[name]) for name in error.columns or rows.column_names}
    return Profile(rows.num_rows, {**clean.columns, **described}, orders_of(rows), relations_of(columns))


def _scores(scorers: Sequence[Scorer], found: Profile) -> tuple[float, ...]:
    return tuple(score / limit for score, limit in (scorer(found) for scorer in scorers))


def _ours(history: Sequence[Past], season: int | None) -> Scorer:
    judge = Judge.of(history, season)

    def score(found: Profile) -> tuple[float, float]:
        judgement = judge(found)
        return judgement.score, judgement.limit

    return score


def _nearest(history: Sequence[Past]) -> Scorer:
    from sklearn.neighbors import NearestNeighbors

    table = np.array([_vector(one.profile) for one in history])
    low, reach = table.min(axis=0), np.ptp(table, axis=0)
    scale = np.where(reach > 0, reach, 1.0)
    neighbours = NearestNeighbors(n_neighbors=_NEIGHBOURS).fit((table - low) / scale)
    own = neighbours.kneighbors(return_distance=True)[0].mean(axis=1)
    limit = float(np.quantile(own, 1 - _CONTAMINATION))

    def score(found: Profile) -> tuple[float, float]:
        distance, _ = neighbours.kneighbors(((_vector(found) - low) / scale)[None])
        return float(distance.mean()), limit

    return score


def _vector(found: Profile) -> np.ndarray:
    values = [
        float(column.distinct) if name == "distinct_count" else column.statistics.get(name, 0.0)
        for column in found.columns.values()
        for name in _THEIRS
    ]
    return np.array(values)


def _by_hand(history: Sequence[Past]) -> Scorer:
    numbers = [name for name, column in history[-1].profile.columns.items() if column.kind == "number"]
    means = np.array(
        [[one.profile.columns[name].statistics.get("mean", np.nan) for name in numbers] for one in history]
    )
    centre, spread = np.nanmean(means, axis=0), np.maximum(np.nanstd(means, axis=0), 1e-9)
    columns = list(history[-1].profile.columns)
    most = {name: max(one.profile.columns[name].statistics["missing"] for one in history) for name in columns}

    def score(found: Profile) -> tuple[float, float]:
        now = np.array([found.columns[name].statistics.get("mean", np.nan) for name in numbers])
        sigmas = float(np.nan_to_num(np.abs(now - centre) / spread, posinf=1e9).max())
        worse = any(found.columns[name].statistics["missing"] > most[name] for name in columns)
        return sigmas + 3.0 * worse, 3.0

    return score


def auc(clean: Sequence[float], spoilt: Sequence[float]) -> float:
    """The chance that a spoilt day scores higher than a clean one, ties counting half."""
    ordered, values = np.sort(clean), np.asarray(spoilt)
    places = np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")
    return float(places.mean() / 2 / len(ordered))


def table(name: str, cases: Sequence[Case]) -> str:
    """By kind of error and share of rows: ROC AUC and recall of the product; then all methods beside each other."""
    clean = [case.scores for case in cases if case.kind is None]
    kinds = list(dict.fromkeys(case.kind for case in cases if case.kind))
    scores: dict[tuple[str, float], list[tuple[float, ...]]] = defaultdict(list)
    for case in cases:
        if case.kind:
            scores[case.kind, case.share].append(case.scores)
    head = "| " + " | ".join(["error", *(f"{share:.0%} of rows" for share in SHARES)]) + " |"
    lines = [f"### {name}: {len(clean)} clean days, {len(cases) - len(clean)} spoilt ones", "", head, "|---" * 7 + "|"]
    for kind in kinds:
        cells = [
            f"{_auc(clean, scores[kind, share], 0):.2f} / {_alarms(scores[kind, share], 0):.0%}" for share in SHARES
        ]
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    lines += ["", "ROC AUC / recall of the product. All kinds alike:", ""]
    lines += ["| method | false alarms per 100 clean days | " + head.removeprefix("| error | "), "|---" * 8 + "|"]
    for method, label in enumerate(METHODS):
        cells = [
            f"{np.mean([_auc(clean, scores[kind, share], method) for kind in kinds]):.3f} / "
            f"{np.mean([_alarms(scores[kind, share], method) for kind in kinds]):.0%}"
            for share in SHARES
        ]
        lines.append(f"| {label} | {100 * _alarms(clean, method):.1f} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _auc(clean: Sequence[tuple[float, ...]], spoilt: Sequence[tuple[float, ...]], method: int) -> float:
    return auc([one[method] for one in clean], [one[method] for one in spoilt])


def _alarms(scores: Sequence[tuple[float, ...]], method: int) -> float:
    return float(np.mean([one[method] > 1 for one in scores]))


def tables(quick: bool = False) -> str:
    """Markdown: one section per feed. NIGHTSHIFT_DATA names the folder of the data."""
    data = Path(os.environ.get("NIGHTSHIFT_DATA", "../shared/data"))
    pa.set_cpu_count(1)  # tiny tables: threads only wait for each other
    clean, spoilt = (20, 4) if quick else (100, 12)
    head = "## Data gate: errors put into real daily data"
    return f"{head}\n\n" + "\n".join(
        table(name, judged(read(data), errors, clean, spoilt))
        for name, read, errors in (
            ("online_retail", online_retail, RETAIL_ERRORS),
            ("bike_sharing", bike_sharing, BIKE_ERRORS),
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="holds online_retail/, bike_sharing/")
    parser.add_argument("--quick", action="store_true", help="a fifth of the days")
    arguments = parser.parse_args()
    os.environ["NIGHTSHIFT_DATA"] = str(arguments.data.absolute())
    print(tables(arguments.quick))


if __name__ == "__main__":
    main()
