"""Settings of the search for hyper-parameters."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from pipelines.settings.base import Settings


class IntRange(Settings):
    """Whole numbers, both ends included."""

    kind: Literal["int"]
    low: int
    high: int
    step: PositiveInt = 1
    log: bool = False


class FloatRange(Settings):
    """Numbers, both ends included; with `step` only low, low + step, ..."""

    kind: Literal["float"]
    low: float
    high: float
    step: float | None = Field(None, gt=0)
    log: bool = False


class Choices(Settings):
    """One of several values without an order."""

    kind: Literal["categorical"]
    values: tuple[bool | int | float | str | None, ...] = Field(min_length=2)


TypedRange = Annotated[IntRange | FloatRange | Choices, Field(discriminator="kind")]


class Pruner(Settings):
    """Ends a trial early whose loss on the validation rows is worse than that of earlier trials."""

    kind: Literal["median", "halving", "hyperband"] = Field(
        description="`median`: worse than the median of the finished trials at the same round or epoch; `halving`: not "
        "among the best third at a rung (`every`, 3 times that, 9 times, ...); `hyperband`: halving, with rungs that "
        "begin later for some of the trials"
    )
    every: PositiveInt = Field(5, description="rounds or epochs between two looks; with `halving` the first rung")
    warmup: int = Field(0, ge=0, description="rounds or epochs after which `median` begins to look")
    startup_trials: int = Field(4, ge=1, description="trials that `median` lets finish before it ends any")


class Tuning(Settings):
    """Optuna over the given ranges, judged on the last training partitions; the holdout is never seen."""

    trials: PositiveInt
    ranges: dict[str, tuple[float, float] | TypedRange] = Field(min_length=1)
    log_scale: tuple[str, ...] = ()
    pruner: Pruner | None = None
    workers: int = Field(1, ge=1, le=64, description="tasks that search at once; with one the seed decides everything")
    warm_start: bool = Field(
        False, description="try the settings' own parameters, the champion's and the last search's best ones first"
    )
