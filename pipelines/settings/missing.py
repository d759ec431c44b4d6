"""Settings of what becomes of missing values."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from pipelines.settings.base import Name, Settings


class Drop(Settings):
    strategy: Literal["drop"]  # rows without a value are left out of training and refused in scoring


class Constant(Settings):
    strategy: Literal["constant"]
    value: float | str
    indicator: bool = False


class Fitted(Settings):
    """Mean, median or mode of the training rows."""

    strategy: Literal["mean", "median", "mode"]
    indicator: bool = False


class ForwardFill(Settings):
    """The entity's last known value before this row, taken from earlier events (a feature step, point in time)."""

    strategy: Literal["forward_fill"]
    entity: tuple[Name, ...] = Field(min_length=1)


class Neighbours(Settings):
    strategy: Literal["knn"]
    neighbours: PositiveInt = 5
    indicator: bool = False


class Iterative(Settings):
    strategy: Literal["iterative"]
    max_iter: PositiveInt = 10
    indicator: bool = False


class Native(Settings):
    """Left missing: XGBoost and histogram boosting learn a direction for it; other families refuse it."""

    strategy: Literal["native"] = "native"
    indicator: bool = False


Missing = Annotated[
    Drop | Constant | Fitted | ForwardFill | Neighbours | Iterative | Native, Field(discriminator="strategy")
]
