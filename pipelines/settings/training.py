"""Settings of training, of the gate and of what becomes of missing values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt, model_validator

from pipelines.settings.base import Name, Settings, Share
from pipelines.settings.preparation import Encoder, Project, Scale, Selection

Task = Literal["binary", "multiclass", "regression", "quantile", "anomaly", "segments"]
# Tasks whose score is in units of the label, and tasks whose label is 0 or 1.
VALUE_TASKS: frozenset[str] = frozenset({"regression", "quantile"})
TWO_VALUED_TASKS: frozenset[str] = frozenset({"binary", "anomaly"})
# Tasks whose scores are probabilities.
CLASS_TASKS: frozenset[str] = frozenset({"binary", "multiclass"})

# Tasks with one score per class, and tasks that need no label.
WIDE_TASKS: frozenset[str] = frozenset({"multiclass", "segments"})
UNLABELLED_TASKS: frozenset[str] = frozenset({"anomaly", "segments"})
# Families that are networks in PyTorch.
NETWORKS: frozenset[str] = frozenset({"torch", "torch_sequence", "torch_image"})


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
    """A multilayer perceptron in PyTorch: scaled numbers, a learnt embedding per category.

    With task `anomaly` an autoencoder: the hidden layers down to a code of at most half the inputs, and up again.
    """

    family: Literal["torch"]
    hidden_layers: tuple[PositiveInt, ...] = Field((128, 64), min_length=1)
    dropout: float = Field(0.1, ge=0, lt=1)
    epochs: PositiveInt = 50
    batch_rows: PositiveInt = Field(1024, description="per step, over all processes together")
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


class WarmStart(Settings):
    """The next model goes on from the champion where both mean the same; else it begins anew, with a reason.

    For the families `xgboost` (trees are added) and `torch` (from the champion's weights).
    """

    rounds: PositiveInt | None = Field(None, description="trees added to the champion's, with `xgboost`; default 20")
    epochs: PositiveInt | None = Field(None, description="further passes over the rows, with `torch`; default 5")
    at_most: PositiveInt = Field(
        6, description="warm starts in a row; the model after them begins anew, so that none grows for ever"
    )

    def more(self, family: str) -> int:
        """Rounds or epochs that are added."""
        return (self.rounds or 20) if family == "xgboost" else (self.epochs or 5)


class KeptCheckpoints(Settings):
    """Of a training that goes on after a kill; how often they are written is the model's `checkpoint_*` key."""

    keep: int = Field(
        2, ge=1, le=100, description="the last ones; the best by the validation rows is kept besides, however old"
    )


class Calibration(Settings):
    """Scores become the shares of rows that they claim to be, by late training rows that the model has not seen."""

    method: Literal["auto", "isotonic", "sigmoid"] = Field(
        "auto", description="`auto`: what has the smallest log loss on parts of these rows, also none of both"
    )


class Intervals(Settings):
    """What labels are to be expected beside the score, by late training rows that the model has not seen."""

    coverage: float = Field(
        0.9, gt=0, lt=1, description="share of labels that lie in the interval, or whose class is in the set"
    )


class Training(Settings):
    task: Task
    quantile: float | None = Field(
        None, gt=0, lt=1, description="task `quantile` alone: the share of labels that lies below the score, e.g. 0.9"
    )
    model: Model = XGBoost()
    tuning: Tuning | None = None
    calibration: Calibration | None = None
    intervals: Intervals | None = None
    window_partitions: PositiveInt = Field(60, description="matured partitions used, holdout included")
    holdout_partitions: PositiveInt = Field(7, description="the latest matured ones; never trained on")
    exclude_partitions: tuple[str, ...] = Field((), description="poisoned days, left out of training and holdout")
    group: tuple[Name, ...] = Field(
        (), description="entities whose rows must not stand on both sides and are resampled together"
    )
    missing: dict[Name, Missing] = Field({}, description="per feature; 'default' for the rest")
    encode: dict[Name, Encoder] = Field(
        {}, description="per category or text; else categories as the family takes them, texts as `tfidf`"
    )
    scale: Scale | None = Field(
        None, description="of numbers: `standard`, `robust` (median, quartiles), `minmax`; none: as the family needs"
    )
    select: tuple[Selection, ...] = Field((), description="which prepared columns the model sees, step by step")
    project: Project | None = None
    vif: bool = Field(False, description="variance inflation factors of the columns, in the record and the model card")
    weight: Name | None = None
    seed: int = 20260101
    warm_start: WarmStart | None = None
    checkpoints: KeptCheckpoints | None = None
    min_rows: PositiveInt = 200
    max_rows_in_memory: PositiveInt = 5_000_000
    metric: str | None = Field(
        None, description="what the gate compares; default roc_auc | log_loss | rmse | pinball | pr_auc"
    )

    @model_validator(mode="after")
    def _quantile_of_its_task(self) -> Training:
        if (self.task == "quantile") != (self.quantile is not None):
            raise ValueError(f"'quantile' must be set with task 'quantile' and with no other, got task '{self.task}'")
        return self

    @model_validator(mode="after")
    def _uncertainty_of_its_task(self) -> Training:
        if self.calibration and self.task not in CLASS_TASKS:
            raise ValueError(f"'calibration' needs task 'binary' or 'multiclass', got '{self.task}'")
        if self.intervals and self.task not in (*CLASS_TASKS, "regression"):
            raise ValueError(f"'intervals' needs task 'regression', 'binary' or 'multiclass', got '{self.task}'")
        return self

    @model_validator(mode="after")
    def _goes_on_from_something(self) -> Training:
        problems = [*_warm_start_problems(self), *_checkpoint_problems(self)]
        if problems:
            raise ValueError("; ".join(problems))
        return self


def _warm_start_problems(training: Training) -> Iterator[str]:
    warm, model = training.warm_start, training.model
    if warm is None:
        return
    if not isinstance(model, XGBoost | TorchMLP):
        yield f"'warm_start' must be left out: family '{model.family}' cannot go on from a champion"
        return
    if getattr(warm, "epochs" if isinstance(model, XGBoost) else "rounds") is not None:
        wrong, right = ("epochs", "rounds") if isinstance(model, XGBoost) else ("rounds", "epochs")
        yield f"'warm_start.{wrong}' must be left out: family '{model.family}' counts '{right}'"
    booster = model.parameters.get("booster", "gbtree") if isinstance(model, XGBoost) else "gbtree"
    if booster != "gbtree":
        yield f"'warm_start' must be left out: trees cannot be added to a booster '{booster}'"
    if training.tuning:
        yield "'warm_start' must be left out with 'tuning': parameters that are searched anew are not the champion's"
    if any(encoder.encoder == "target" for encoder in training.encode.values()):
        yield "'warm_start' must be left out with an encoder 'target': its means hold the labels of the same rows"
    for name in ("calibration", "intervals"):
        if getattr(training, name):
            yield f"'warm_start' must be left out with '{name}': the champion knows the rows that it keeps back"
    if training.group:
        yield "'warm_start' must be left out with 'group': the champion may know the holdout's groups by earlier rows"


def _checkpoint_problems(training: Training) -> Iterator[str]:
    model = training.model
    members = model.members.values() if isinstance(model, Ensemble) else [model]
    if training.checkpoints and all(isinstance(one, SklearnEstimator) for one in members):
        yield "'checkpoints' must be left out: an estimator of scikit-learn is fitted at once"


class Gate(Settings):
    """What a challenger must show. Named policies fill in values; a value given here wins over the policy."""

    policy: Literal["default", "strict", "bootstrap"] = "default"
    margin: float | None = Field(None, description="gain over the champion whose lower bound must be reached")
    confidence: Share | None = Field(None, description="of the one-sided bootstrap bound")
    resamples: PositiveInt | None = None
    min_holdout_rows: PositiveInt | None = None
    floor: float | None = Field(None, description="absolute value of the metric that must be reached")
    slices: tuple[Name, ...] = Field((), description="columns whose values are judged apart")
    slice_min_rows: PositiveInt = 100
    slice_margin: float | None = Field(None, description="loss on a slice that is still accepted")
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


class Retrain(Settings):
    schedule: str | None = Field(None, description="cron in the pipeline's time zone; none: only when drift asks")
    first_after_partitions: PositiveInt = Field(
        14,
        description="without a champion the monitor asks for a first model once this many partitions (and twice the "
        "holdout) have labels",
    )
    approve: Literal["auto", "always"] = "auto"
    approve_timeout_hours: PositiveInt = 24


class Label(Settings):
    """Where labels come from and when they can be trusted."""

    column: Name
    delay_days: float = Field(0, ge=0, description="an event's label may be used this long after the event")
    positive: str | None = Field(None, description="binary: the value that counts as 1, when labels are text")
    source: Name | None = Field(None, description="name under 'label_sources'; unset: a column of the row")
    # Left out where it is not set: the digests and records of other pipelines stay as they were.
    min_share: Share | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="a matured partition of whose rows fewer have a label is neither judged nor trained on: it waits; "
        "none: it counts with those it has",
    )


class LabelRules(Settings):
    """Bounds that training labels must keep (a poisoned day is refused before it trains a model)."""

    min_rate: Share | None = None
    max_rate: Share | None = None
    max_daily_shift: float | None = Field(
        None, description="largest |z| of one partition's positive rate against the other partitions'"
    )

    @model_validator(mode="after")
    def _ordered(self) -> LabelRules:
        if self.min_rate is not None and self.max_rate is not None and self.min_rate > self.max_rate:
            raise ValueError("'min_rate' must not be above 'max_rate'")
        return self
