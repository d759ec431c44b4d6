"""What a partition must satisfy before its rows are used: the block `validate` of a pipeline."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from pipelines.settings.base import Settings, Share

_LEAST_HISTORY = 14  # with less, the forecasts of single statistics rest on nothing


class Volume(Settings):
    """Row count against the median of the last accepted partitions."""

    min_rows: PositiveInt = 1
    min_ratio: float = Field(0.2, ge=0)
    max_ratio: float = Field(5.0, gt=0)
    history_partitions: PositiveInt = 14
    history_min: PositiveInt = Field(3, description="with fewer accepted partitions the ratio is not judged")


class Validate(Settings):
    suite: str | None = Field(None, description="expectations/<suite>.json; default: the pipeline's name")
    max_quarantine_share: Share = Field(0.1, description="more bad rows refuse the partition (ingest's included)")
    volume: Volume = Volume()
    max_age_hours: PositiveInt | None = Field(
        None, description="freshness: the newest event may be at most this much older than the partition's end"
    )
    gx_row_limit: PositiveInt = 2_000_000
    anomaly: Literal["ignore", "warn", "refuse"] = Field(
        "warn", description="what becomes of a partition that looks unlike the accepted ones before it"
    )
    min_history: Annotated[int, Field(ge=_LEAST_HISTORY)] = Field(
        60, description="with fewer accepted partitions nothing is said about likeness"
    )
    history_partitions: PositiveInt = Field(365, description="accepted partitions that are compared with, the latest")
    history_start: str | None = Field(
        None, description="first partition that is compared with: the day of a change that is here to stay"
    )
    accept: tuple[str, ...] = Field((), description="partitions that are right although they look unlike the others")

    @model_validator(mode="after")
    def _history_fits(self) -> Validate:
        if self.history_partitions < self.min_history:
            raise ValueError(
                f"'history_partitions' must be at least 'min_history' {self.min_history}, got {self.history_partitions}"
            )
        if self.anomaly == "ignore" and (self.accept or self.history_start):
            raise ValueError("'accept' and 'history_start' mean nothing with 'anomaly: ignore'")
        return self

    @property
    def named_partitions(self) -> tuple[str, ...]:
        """Keys that must be partitions of the pipeline."""
        return (*self.accept, *([self.history_start] if self.history_start else []))
