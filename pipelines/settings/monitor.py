"""When drift asks for a new model: the block `monitor` of a pipeline."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from pipelines.settings.base import Settings


class Monitor(Settings):
    reference_partitions: PositiveInt = Field(28, description="accepted partitions before the champion's holdout")
    weekday_profile: Literal["auto", "always", "never"] = Field(
        "auto",
        description="compare a Sunday with Sundays: where the reference shows that it matters, or always, or never",
    )
    votes: PositiveInt = Field(2, description="k: partitions that must show drift, the latest included")
    of_last: PositiveInt = Field(3, description="n")
    cooldown_partitions: NonNegativeInt = 3
    min_new_labels: NonNegativeInt = 100
    psi_watch: float = Field(0.05, gt=0)
    psi_retrain: float = Field(0.12, gt=0)
    false_alarm_rate: float = Field(
        0.01, gt=0, le=0.2, description="chance that a quiet partition raises an alarm; all columns share it"
    )
    loss_rise: float | None = Field(
        0.1, gt=0, description="relative rise of the mean loss on matured labels that is worth a vote; none: not judged"
    )
    max_drop: float | None = Field(None, description="realised loss of the metric on matured labels that retrains")
    report: Literal["always", "on_alarm", "on_retrain", "never"] = "always"
    report_max_rows: Annotated[PositiveInt, Field(le=50_000)] = 10_000

    @model_validator(mode="after")
    def _votes_fit(self) -> Monitor:
        if self.votes > self.of_last:
            raise ValueError("'votes' must not be above 'of_last'")
        if self.psi_watch > self.psi_retrain:
            raise ValueError("'psi_watch' must not be above 'psi_retrain'")
        if self.weekday_profile == "always" and self.reference_partitions < 14:
            raise ValueError(
                "'weekday_profile: always' needs 'reference_partitions' of 14 or more: two of each weekday"
            )
        return self
