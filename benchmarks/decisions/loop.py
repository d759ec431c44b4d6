"""The whole loop on real streams: what each way of retraining scores, and how often it changes the champion.

    python -m benchmarks.decisions.loop [--data ../shared/data] [--days 200] [--only electricity]

Each day is scored by the model that was in force the evening before. Training, gate and monitor are the product's
functions with the pipeline file's own settings; what they are given lies in memory. The challenger of a night depends
on the night alone, so that it is trained once for all policies. All policies begin with the first champion that the
gate accepts, and are judged on the same days. Prints Markdown.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.decisions.nights import Nights, Trained
from benchmarks.decisions.policies import DRIFT, GATED, Judged, Played, first_evening, play
from benchmarks.decisions.stream import Stream, read_stream
from pipelines.training.metrics import metric

STREAMS = ("electricity", "bike_sharing")
DAYS, QUICK_DAYS = 200, 10
METRICS = {"binary": ("accuracy", "roc_auc", "log_loss"), "regression": ("rmse", "mae")}
# What a model would have brought on the next day is told in the one that has a meaning for a single day.
DAILY = {"binary": ("accuracy", 1.0), "regression": ("mae", -1.0)}
HEAD = """## The whole loop

Each day scored by the model in force the evening before; retrains and champion changes after the first champion.
The product's champion never learns from its holdout; "then fitted with the holdout" is what it would bring if it did.
Below each table: what the nightly challengers that the gate judged did on the next day, against the champion it kept
or replaced (gain > 0: the challenger was better), by the first check that failed."""


def tables(quick: bool = False) -> str:
    data = Path(os.environ.get("NIGHTSHIFT_DATA", "../shared/data"))
    return "\n\n".join([HEAD, *both(data, QUICK_DAYS if quick else DAYS)])


def both(data: Path, days: int, skipped: int = 0) -> list[str]:
    """Both streams at once, in a process each."""
    work = partial(run_stream, data=data, days=days, skipped=skipped)
    with ProcessPoolExecutor(len(STREAMS), mp_context=get_context("spawn")) as pool:
        return list(pool.map(work, STREAMS))


def run_stream(name: str, data: Path, days: int, skipped: int = 0) -> str:
    """The tables of one stream over `days` evenings, after `skipped` ones since a first model could be trained."""
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1):
        stream = read_stream(name, data)
        start = first_evening(stream) + skipped
        wanted = stream.days[start : start + days]
        stream = stream.until(wanted[-1])
        nights = Nights(stream, Path(folder))
        played = play(nights, wanted, Path(folder))
        return "\n\n".join(["\n".join(quality_table(nights, played)), "\n".join(cost_table(stream, played))])


def quality_table(nights: Nights, played: dict[str, Played]) -> Iterator[str]:
    """Markdown: one line per policy, and the plain answers without any model."""
    stream = nights.stream
    days = list(played[GATED].champions)
    if not days:
        yield f"{stream.pipeline.name}: the gate accepted no first champion."
        return
    labels, task = np.concatenate([stream.labels(day, day) for day in days]), _task(stream)
    names = METRICS[task]
    yield f"**{stream.pipeline.name}**: {len(days)} days from {days[0]} to {days[-1]}, {len(labels):,} labelled rows."
    yield ""
    yield f"| {stream.pipeline.name} | {' | '.join(names)} | retrains | champion changes |"
    yield "|---|" + "---|" * (len(names) + 2)
    for name, one in played.items():
        yield f"| {name} | {_quality(stream, one.champions, labels)} | {one.retrains} | {one.changes} |"
    gated = played[GATED]
    fresh = {day: nights.refitted(model.night) for day, model in gated.champions.items()}
    yield f"| {GATED}, then fitted with the holdout | {_quality(stream, fresh, labels)} | | {gated.changes} |"
    if task == "binary":
        yield f"| the more frequent class | {max(labels.mean(), 1 - labels.mean()):.4f} | 0.5 | | | |"
        yield f"| the class of the row before | {np.mean(labels[1:] == labels[:-1]):.4f} | | | | |"


def _quality(stream: Stream, champions: dict[str, Trained], labels: np.ndarray) -> str:
    """Cells of all metrics over the rows of all days together."""
    scores = np.concatenate([model.on(stream, day, day) for day, model in champions.items()])
    return " | ".join(f"{metric(name, labels, scores):.4f}" for name in METRICS[_task(stream)])


def cost_table(stream: Stream, played: dict[str, Played]) -> Iterator[str]:
    """Markdown: per outcome of the gate, what the challenger did on the next day against the champion."""
    name, _ = DAILY[_task(stream)]
    yield f"| {stream.pipeline.name}: decided by | nights, nightly | mean gain in {name} | nights, drift | mean gain |"
    yield "|---|---|---|---|---|"
    gains = {policy: gains_by_reason(stream, played[policy]) for policy in (GATED, DRIFT)}
    for why in sorted({*gains[GATED], *gains[DRIFT]}):
        cells = [gains[policy].get(why, []) for policy in (GATED, DRIFT)]
        yield f"| {why} | " + " | ".join(f"{len(one)} | {_mean(one)}" for one in cells) + " |"


def gains_by_reason(stream: Stream, one: Played) -> dict[str, list[float]]:
    days, found = stream.days, dict[str, list[float]]()
    for day, judged in one.judged.items():
        if day != days[-1]:
            found.setdefault(judged.why, []).append(_gain(stream, judged, days[days.index(day) + 1]))
    return found


def _gain(stream: Stream, judged: Judged, day: str) -> float:
    name, sign = DAILY[_task(stream)]

    def value(model: Trained) -> float:
        return metric(name, stream.labels(day, day), model.on(stream, day, day))

    return sign * (value(judged.challenger) - value(judged.champion))


def _task(stream: Stream) -> str:
    return stream.pipeline.training.task if stream.pipeline.training else ""


def _mean(values: list[float]) -> str:
    return f"{np.mean(values):+.4f}" if values else ""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--days", type=int, default=DAYS)
    parser.add_argument("--skipped", type=int, default=0)
    parser.add_argument("--only", choices=STREAMS)
    arguments = parser.parse_args()
    if arguments.only:
        print(run_stream(arguments.only, arguments.data, arguments.days, arguments.skipped))
    else:
        print("\n\n".join(both(arguments.data, arguments.days, arguments.skipped)))


if __name__ == "__main__":
    main()
