"""Settings of the families of models, and the one typed union of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt, model_validator

from pipelines.settings.base import Name, Settings

# Families that are networks in PyTorch.
NETWORKS: frozenset[str] = frozenset({"torch", "torch_sequence", "torch_image"})


class XGBoost(Settings):
    family: Literal["xgboost"] = "xgboost"
    rounds: PositiveInt = 200
    early_stopping_rounds: PositiveInt | None = Field(20, description="judged on the last training partitions")
    parameters: dict[str, float | int | str] = Field(
        {}, description="XGBoost's own names, e.g. max_depth, learning_rate, subsample"
    )
    checkpoint_rounds: PositiveInt = Field(
        50, description="a killed training goes on from here; with sampled rows or columns, part of the recipe"
    )


class TorchMLP(Settings):
    """A multilayer perceptron in PyTorch: scaled numbers, of the label too, and a learnt embedding per category.

    With task `anomaly` an autoencoder: the hidden layers down to a code of at most half the inputs, and up again.
    """

    family: Literal["torch"]
    hidden_layers: tuple[PositiveInt, ...] = Field((128, 64), min_length=1)
    dropout: float = Field(0.1, ge=0, lt=1)
    epochs: PositiveInt = 50
    batch_rows: PositiveInt | None = Field(
        None,
        description="per step, over all processes together; none: a power of two from 32 to 1024 that gives an epoch "
        "64 to 128 steps where it can",
    )
    learning_rate: float = Field(0.001, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    early_stopping_epochs: PositiveInt | None = Field(5, description="judged on the last training partitions")
    precision: Literal["float32", "bf16"] = Field("float32", description="of training; scores are always float32")
    deterministic: bool = Field(
        True, description="the same bytes on every CPU (one thread per process); repeatable kernels on a GPU"
    )
    processes: PositiveInt = Field(1, description="of torchrun, on one machine; on `cuda` one GPU each")
    checkpoint_epochs: PositiveInt = Field(5, description="a killed training goes on from here")


class TorchSequence(TorchMLP):
    """An encoder of the entity's last events, whose result joins the other features on their way into the layers.

    It reads the features of kind `lag` (all numbers named `<column>_lag_<step>`); a step without an event is masked.
    """

    family: Literal["torch_sequence"]  # type: ignore[assignment]  # all else of a perceptron holds for it, too
    network: Literal["cnn", "lstm"] = Field(
        "cnn", description="`cnn`: convolutions over neighbouring events; `lstm`: from the oldest to the newest event"
    )
    channels: PositiveInt = Field(32, description="numbers that the encoder makes of each event")


class TorchImage(TorchMLP):
    """Convolutions over the one image among the features, whose result joins the others on their way into the layers.

    A row without an image is scored by its other features and the mark that it has none.
    """

    family: Literal["torch_image"]  # type: ignore[assignment]  # all else of a perceptron holds for it, too
    network: Literal["cnn", "resnet"] = Field(
        "cnn", description="`cnn`: a convolution per halving of the picture; `resnet`: two, beside a shortcut"
    )
    channels: PositiveInt = Field(16, description="of the first convolution; later ones have up to four times as many")


class SklearnEstimator(Settings):
    """A scikit-learn estimator from an allow-list in code (pipelines/models/)."""

    family: Literal["sklearn"]
    estimator: str = Field(description="e.g. 'LogisticRegression', 'RandomForestClassifier', 'Ridge'")
    parameters: dict[str, Any] = {}


Member = Annotated[XGBoost | TorchMLP | TorchSequence | TorchImage | SklearnEstimator, Field(discriminator="family")]


class Ensemble(Settings):
    """Several models, of one family or of different ones, whose scores become one."""

    family: Literal["ensemble"]
    combine: Literal["voting", "weighted", "stacking", "bagging", "fusion"] = Field(
        description="`voting`: the mean; `weighted`: weights learnt out of fold; `stacking`: a linear model on "
        "out-of-fold scores; `bagging`: the mean of copies, each on rows drawn with replacement; `fusion`: stacking "
        "of members that see different columns, where a row may lack those of some"
    )
    members: dict[Name, Member] = Field(min_length=1)
    folds: int = Field(
        5, ge=2, le=20, description="of `weighted`, `stacking` and `fusion`: blocks of time, or whole groups"
    )
    copies: int = Field(10, ge=2, le=100, description="of each member, with `bagging`")
    # Left out where it is not set: the records of other ensembles stay as they were.
    columns: dict[Name, tuple[Name, ...]] = Field(
        {}, exclude_if=lambda value: not value, description="the features that each member sees, with `fusion`"
    )

    @model_validator(mode="after")
    def _columns_of_a_fusion(self) -> Ensemble:
        if self.combine != "fusion" and self.columns:
            raise ValueError(f"'columns' is for 'combine: fusion', got '{self.combine}'")
        if self.combine == "fusion" and (set(self.columns) != set(self.members) or not all(self.columns.values())):
            raise ValueError(f"'columns' must name the features of each member: {', '.join(sorted(self.members))}")
        return self


Model = Annotated[
    XGBoost | TorchMLP | TorchSequence | TorchImage | SklearnEstimator | Ensemble, Field(discriminator="family")
]
