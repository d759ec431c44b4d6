"""Is there enough to learn from, and are the labels believable? A poisoned day is named before it trains a model."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.context import Context
from pipelines.errors import ModelError, names
from pipelines.settings.tasks import TWO_VALUED_TASKS
from pipelines.settings.training import LabelRules, Training


def check_labels(
    context: Context,
    training: Training,
    by_day: Sequence[Mapping[str, Any]],
    rows: Mapping[str, int],
    distinct: Mapping[str, int],
) -> None:
    """Refuses training data that cannot make a trustworthy model.

    Args:
        context: The run.
        training: Its settings.
        by_day: `partition`, `rows` and `rate` (mean of the target) per partition.
        rows: Rows of 'train' and 'holdout'.
        distinct: Distinct target values of each part.

    Raises:
        ModelError: E-TRAIN-ROWS or E-TRAIN-LABELS, naming the partitions.
    """
    label = context.pipeline.label
    what = "rows" if label is None else "labelled rows"
    if rows["train"] < training.min_rows or not rows["holdout"]:
        raise ModelError(
            "E-TRAIN-ROWS",
            context.where,
            f"training needs at least {training.min_rows:,} {what} and a holdout, got {rows['train']:,} and "
            f"{rows['holdout']:,}",
            f"The champion stays. Wait for {'rows' if label is None else 'labels'}, or lower training.min_rows.",
        )
    if context.pipeline.label is None:
        return
    # An anomaly detector learns from the normal rows alone.
    if distinct["train"] < 2 and training.task != "anomaly":
        raise ModelError(
            "E-TRAIN-LABELS",
            context.where,
            "the training labels must have at least two values, got one",
            "The champion stays. Check the label source.",
        )
    if training.task in TWO_VALUED_TASKS:
        _check_rates(context, by_day)


def _check_rates(context: Context, by_day: Sequence[Mapping[str, Any]]) -> None:
    problems = rate_problems(by_day, context.pipeline.label_rules)
    if problems:
        raise ModelError(
            "E-TRAIN-LABELS",
            context.where,
            "the share of positive labels is not believable on "
            + names(f"{partition}: {why}" for partition, why in sorted(problems.items())),
            f"The champion stays. If the labels are wrong, have them corrected or write under 'training' of "
            f"{context.name}.yaml: {_line_to_add(context, problems)}; if they are right, widen label_rules.",
        )


def _line_to_add(context: Context, problems: Mapping[str, str]) -> str:
    """The setting in full, with what it excludes already; ready to be pasted."""
    training = context.pipeline.training
    excluded = sorted({*problems, *(training.exclude_partitions if training else ())})
    return f"exclude_partitions: [{', '.join(json.dumps(key) for key in excluded)}]"


def rate_problems(days: Sequence[Mapping[str, Any]], rules: LabelRules) -> dict[str, str]:
    """Partition to the rule that its rate breaks.

    Shifts are judged against the days that are not suspect themselves, the worst day first: one poisoned day pulls
    the pooled rate of all others, and would make innocent ones look strange.
    """
    problems = {day["partition"]: why for day in days if (why := _bound_problem(day["rate"], rules))}
    left = [day for day in days if day["partition"] not in problems]
    while rules.max_daily_shift is not None and len(left) > 1:
        shifts = [shift_of(day, [other for other in left if other is not day]) for day in left]
        worst = max(range(len(left)), key=lambda index: abs(shifts[index]))
        if abs(shifts[worst]) <= rules.max_daily_shift:
            break
        day = left.pop(worst)
        problems[day["partition"]] = (
            f"rate {day['rate']:.4f} is {shifts[worst]:+.1f} standard errors from the other days, "
            f"{rules.max_daily_shift:g} allowed"
        )
    return problems


def _bound_problem(rate: float, rules: LabelRules) -> str | None:
    if rules.min_rate is not None and rate < rules.min_rate:
        return f"rate {rate:.4f} is below {rules.min_rate:g}"
    if rules.max_rate is not None and rate > rules.max_rate:
        return f"rate {rate:.4f} is above {rules.max_rate:g}"
    return None


def shift_of(day: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> float:
    """z of a two-sample test of proportions, the day against all others pooled; 0 where it is undefined."""
    n, m = day["rows"], sum(other["rows"] for other in others)
    if not n or not m:
        return 0.0
    rest = sum(other["rows"] * other["rate"] for other in others) / m
    pooled = (n * day["rate"] + m * rest) / (n + m)
    error = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    return (day["rate"] - rest) / error if error else 0.0
