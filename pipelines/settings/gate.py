"""Settings of the promotion gate: what a new model must show before it replaces the champion."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field, PositiveInt, model_validator

from pipelines.settings.base import Name, Settings, Share
from pipelines.settings.tasks import VALUE_TASKS

Test = Literal["superior", "not_inferior"]
Correction = Literal["holm", "benjamini_hochberg"]


def _unless(default: Any, description: str, **bounds: Any) -> Any:
    """A key that is left out of digests and records while it has its default: those of other pipelines stay."""
    return Field(default, description=description, exclude_if=lambda value: value == default, **bounds)


class Leakage(Settings):
    """What is taken for a label that slipped into the features. A hit holds the challenger back until a person says
    otherwise."""

    max_feature_auc: float = Field(
        0.99, gt=0.5, le=1, description="classes: ROC AUC of one feature alone on training rows, from which it is held"
    )
    max_feature_correlation: float = Field(
        0.999, gt=0, le=1, description="numbers: |correlation| of one feature with the label, from which it is held"
    )
    accepted_features: tuple[Name, ...] = Field((), description="features that may be as good as they are")
    max_duplicate_share: Share = Field(
        0.05,
        description="share of holdout rows with all features and the label of a training row, beyond the share that is "
        "usual among training rows",
    )
    too_good: float = Field(
        0.999, gt=0, le=1, description="value of a bounded metric (ROC AUC, accuracy, ...) that nobody believes"
    )
    max_improvement: float = Field(
        0.98, gt=0, le=1, description="share of a loss that a model may take off the best of champion and baselines"
    )


class Gate(Settings):
    """What a challenger must show. Named policies fill in values; a value given here wins over the policy."""

    policy: Literal["default", "strict", "bootstrap"] = "default"
    test: Test = _unless(
        "superior",
        "`superior`: certainly better than the champion by `margin`; `not_inferior`: not worse by `tolerance`",
    )
    margin: float | None = Field(None, description="gain over the champion whose lower bound must be reached")
    tolerance: float | None = _unless(None, "loss that `not_inferior` accepts, in units of `margin`", gt=0)
    confidence: Share | None = Field(
        None, description="of the one-sided bounds; `false_promotions_per_year` may ask for more"
    )
    false_promotions_per_year: float | None = _unless(
        None, "how many models that are no better may replace the champion in a year; default 0.5", gt=0
    )
    resamples: PositiveInt | None = None
    min_holdout_rows: PositiveInt | None = None
    max_champion_age_days: PositiveInt | None = _unless(None, "an older champion is called stale in every decision")
    when_stale: Test = _unless("superior", "`test` where the champion is stale")
    floor: float | None = Field(None, description="absolute value of the metric that must be reached")
    slices: tuple[Name, ...] = Field((), description="columns whose values are judged apart")
    slice_min_rows: PositiveInt = 100
    slice_margin: float | None = Field(None, description="loss on a slice that is still accepted")
    slice_correction: Correction = _unless(
        "holm", "for many slices at once: `holm` (one false alarm), `benjamini_hochberg` (the share of false alarms)"
    )
    sensitive: tuple[Name, ...] = _unless((), "columns whose values must be treated alike; `slice_min_rows` counts")
    threshold: float = _unless(0.5, "score from which on a row counts as selected, for `sensitive`", ge=0, le=1)
    max_selection_gap: Share | None = _unless(
        None, "largest difference of the selected shares between values of a sensitive column (demographic parity)"
    )
    max_error_gap: float | None = _unless(
        None,
        "largest difference of true or false positive rates (equalized odds); of a number: of mean absolute errors, as "
        "a share of the error over all rows",
        gt=0,
    )
    leakage: Leakage | None = _unless(Leakage(), "what is taken for a label among the features; `null`: not looked for")
    max_calibration_error: Share | None = None
    max_seconds_per_1000_rows: float | None = None
    max_megabytes: float | None = None
    min_agreement: float | None = Field(
        None,
        ge=-1,
        le=1,
        description="without labels: adjusted Rand index with the champion's segments, or rank correlation with its "
        "scores of anomalies; default 0.5, `strict` 0.8",
    )
    flagged_share: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="anomalies without labels: share of the training rows that is flagged; default 0.01",
    )
    max_flagged_share: Share | None = Field(
        None, description="anomalies without labels: most of the holdout that may then be flagged; default 0.05"
    )
    shadow: PositiveInt | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="partitions that a challenger scores beside the champion before realised labels judge both; none: "
        "the gate's word promotes at once",
    )

    @model_validator(mode="after")
    def _belongs_together(self) -> Gate:
        problems = [*_test_problems(self), *_sensitive_problems(self)]
        if problems:
            raise ValueError("; ".join(problems))
        return self


def _test_problems(gate: Gate) -> Iterator[str]:
    tolerant = "not_inferior" in (gate.test, gate.when_stale)
    if tolerant and gate.tolerance is None:
        yield "'tolerance' must be set with 'not_inferior': how much worse a new model may be"
    if gate.tolerance is not None and not tolerant:
        yield "'tolerance' needs 'test: not_inferior' or 'when_stale: not_inferior'"
    if gate.when_stale != "superior" and gate.max_champion_age_days is None:
        yield "'when_stale' needs 'max_champion_age_days'"


def _sensitive_problems(gate: Gate) -> Iterator[str]:
    limits = [name for name in ("max_selection_gap", "max_error_gap") if getattr(gate, name) is not None]
    if gate.sensitive and not limits:
        yield "'sensitive' needs 'max_selection_gap' or 'max_error_gap'"
    if limits and not gate.sensitive:
        yield f"'{limits[0]}' needs 'sensitive'"


def gate_problems(gate: Gate, task: str | None, is_labelled: bool) -> list[str]:
    """What of the gate's keys means nothing for this task."""
    if not gate.sensitive or task is None:
        return []
    if not is_labelled or task not in {"binary", *VALUE_TASKS}:
        return [f"'gate.sensitive' needs labels of two values or numbers, got task '{task}'"]
    if task in VALUE_TASKS and gate.max_selection_gap is not None:
        return [f"'gate.max_selection_gap' needs a task with two classes, got '{task}'; 'max_error_gap' fits"]
    return []
