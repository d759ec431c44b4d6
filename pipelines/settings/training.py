"""Settings of training and of labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from pipelines.settings.base import Name, Settings, Share
from pipelines.settings.families import Ensemble, Model, SklearnEstimator, TorchMLP, XGBoost
from pipelines.settings.missing import Missing
from pipelines.settings.preparation import Encoder, Project, Scale, Selection
from pipelines.settings.search import Tuning
from pipelines.settings.tasks import CLASS_TASKS, Task


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


class Retrain(Settings):
    schedule: str | None = Field(None, description="cron in the pipeline's time zone; none: only when drift asks")
    first_after_partitions: PositiveInt = Field(
        14,
        description="without a champion the monitor asks for a first model once this many partitions (and twice the "
        "holdout) have labels",
    )
    approve: Literal["auto", "always", "on_risk"] = "auto"
    approve_timeout_hours: PositiveInt = 24

    @model_validator(mode="after")
    def _time_out_of_a_question(self) -> Retrain:
        # By its value: the settings that a version keeps hold every key.
        usual = Retrain.model_fields["approve_timeout_hours"].default
        if self.approve == "auto" and self.approve_timeout_hours != usual:
            raise ValueError("'approve_timeout_hours' needs 'approve: always' or 'on_risk', 'auto' asks nobody")
        return self


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
