"""Settings of features: groups of windows, lags, ratios, calendar parts, joins and reviewed functions."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from pipelines.settings.base import Name, Settings

Statistic = Literal["count", "sum", "mean", "std", "min", "max", "distinct", "seconds_since_last", "last"]
CalendarPart = Literal["hour", "day_of_week", "day_of_month", "day_of_year", "month", "is_weekend"]
_SECONDS = {"m": 60, "h": 3600, "d": 86400}


def window_seconds(window: str) -> int:
    """'90m', '24h' or '30d' in seconds."""
    return int(window[:-1]) * _SECONDS[window[-1]]


def _checked_window(window: str) -> str:
    if not re.fullmatch(r"[1-9][0-9]*[mhd]", window):
        raise ValueError(f"a window must be written like '90m', '24h' or '30d', got '{window}'")
    return window


Window = Annotated[str, AfterValidator(_checked_window)]


class WindowFeature(Settings):
    """`statistic` of `column` over the entity's events strictly before this one, per window.

    Column names: `<column>_<statistic>_<window>`, `count_<window>` and `seconds_since_last` without a column,
    each behind `<prefix>_` when the group sets one. `seconds_since_last` and `last` without a window have no suffix.
    Empty windows: count, distinct and sum are 0, the others null; `std` (sample) is null below two values.
    """

    kind: Literal["window"] = "window"
    column: Name | None = None
    statistics: tuple[Statistic, ...] = Field(min_length=1)
    windows: tuple[Window, ...] = Field((), description="none: over the whole look-back (seconds_since_last, last)")
    decimals: int = Field(
        6, ge=0, le=15, description="sum, mean and std count in units of 10^-decimals: exact in any order of rows"
    )

    @model_validator(mode="after")
    def _complete(self) -> WindowFeature:
        columnless = {"count", "seconds_since_last"}
        if self.column is None and set(self.statistics) - columnless:
            raise ValueError(f"'column' is needed by {sorted(set(self.statistics) - columnless)}")
        if not self.windows and set(self.statistics) - {"seconds_since_last", "last"}:
            raise ValueError("'windows' is needed by every statistic but 'seconds_since_last' and 'last'")
        return self


class LagFeature(Settings):
    """The entity's last events strictly before this one, newest first, within the look-back.

    Column names: `<column>_lag_1` to `<column>_lag_<steps>` per column and `seconds_lag_1` ... for how long before
    this row each event was, all behind `<prefix>_` when the group sets one. A step without an event is null.
    """

    kind: Literal["lag"]
    columns: tuple[Name, ...] = Field(min_length=1)
    steps: int = Field(8, ge=1, le=64, description="how many events back")


class CalendarFeature(Settings):
    """Parts of a timestamp, in the pipeline's time zone: `<column>_<part>`."""

    kind: Literal["calendar"]
    column: Name
    parts: tuple[CalendarPart, ...] = Field(min_length=1)


class RatioFeature(Settings):
    """`numerator / denominator`, null where the denominator is null or zero. Both may be earlier features."""

    kind: Literal["ratio"]
    name: Name
    numerator: Name
    denominator: Name


class JoinFeature(Settings):
    """Columns of a slowly changing table as they held at the event's time (many to one, checked).

    Column names: `<column>`, behind `<prefix>_` when the group sets one.
    """

    kind: Literal["join"]
    dimension: Name
    columns: tuple[Name, ...] = Field(min_length=1)


class FunctionFeature(Settings):
    """A reviewed function `(table: ibis.Table) -> ibis.Table` from `config/features/<module>.py`.

    It may add exactly the columns named here, and neither add nor drop rows. It is given the rows of one partition
    with their features so far and without the label; that it looks at no later row is its author's duty.
    """

    kind: Literal["function"]
    module: Name
    function: Name
    columns: tuple[Name, ...] = Field(min_length=1)
    categories: tuple[Name, ...] = Field(
        (), description="those of 'columns' that hold a category; the rest are numbers"
    )
    texts: tuple[Name, ...] = Field((), description="those of 'columns' that hold free text")


Feature = Annotated[
    WindowFeature | LagFeature | CalendarFeature | RatioFeature | JoinFeature | FunctionFeature,
    Field(discriminator="kind"),
]


class FeatureGroup(Settings):
    """Features of one entity with an owner; its version is the digest of this definition.

    Shared groups are files `config/features/<name>.yaml`; a pipeline names them or defines its own inline.
    """

    name: Name
    entity: tuple[Name, ...] = Field((), description="columns that identify the entity; needed by windows and lags")
    owner: str
    description: str = ""
    prefix: Name | None = None
    features: tuple[Feature, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _history_has_entity(self) -> FeatureGroup:
        for kind, what in ((WindowFeature, "windows"), (LagFeature, "lags")):
            if not self.entity and any(isinstance(feature, kind) for feature in self.features):
                raise ValueError(f"feature group '{self.name}' has {what} and therefore needs 'entity'")
        return self


class Features(Settings):
    """Which groups are built, how far they look back, and which columns the model sees."""

    groups: tuple[Name | FeatureGroup, ...] = ()
    lookback: Window = Field("30d", description="how much earlier data is read; bounds every window")
    columns: tuple[Name, ...] = Field(
        (), description="columns of the clean table that the model sees beside the built features"
    )
