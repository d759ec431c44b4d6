"""What is wrong with the model that a pipeline names. No machine learning library is imported here."""

from __future__ import annotations

from pipelines.errors import ConfigError, did_you_mean, names, quote
from pipelines.models.estimators import estimator_of, fitting_the_task
from pipelines.models.fusion_problems import fusion_problems
from pipelines.models.images import image_problems
from pipelines.models.preparation_problems import preparation_problems
from pipelines.models.sequences import sequence_problems
from pipelines.settings.families import NETWORKS, Ensemble, SklearnEstimator, TorchMLP, XGBoost
from pipelines.settings.missing import Constant, Fitted, Iterative, Neighbours
from pipelines.settings.pipeline import Pipeline
from pipelines.settings.tasks import Task
from pipelines.settings.training import Training

INTEGER_PARAMETERS = frozenset(
    {"rounds", "max_depth", "max_leaves", "max_bin", "num_parallel_tree", "max_cat_to_onehot", "max_cat_threshold"}
)
# scikit-learn's counts; those of the second set may also be shares of the rows or columns, below 1.
_SKLEARN_INTEGERS = frozenset(
    {"n_estimators", "max_iter", "n_neighbors", "max_leaf_nodes", "max_bins", "max_depth", "degree", "n_iter_no_change"}
)
_SKLEARN_COUNTS_OR_SHARES = frozenset({"min_samples_leaf", "min_samples_split", "max_features", "max_samples"})
REAL_PARAMETERS = frozenset(
    {
        "learning_rate", "eta", "gamma", "min_split_loss", "min_child_weight", "max_delta_step", "subsample",
        "colsample_bytree", "colsample_bylevel", "colsample_bynode", "lambda", "reg_lambda", "alpha", "reg_alpha",
        "scale_pos_weight", "base_score", "huber_slope", "quantile_alpha", "tweedie_variance_power",
    }
)  # fmt: skip
TEXT_PARAMETERS = frozenset({"objective", "grow_policy", "booster", "sampling_method"})
_TORCH_INTEGERS = frozenset({"epochs", "batch_rows", "channels"})
TORCH_TUNABLE = frozenset({"epochs", "batch_rows", "learning_rate", "weight_decay", "dropout"})
XGBOOST_PARAMETERS = INTEGER_PARAMETERS - {"rounds"} | REAL_PARAMETERS | TEXT_PARAMETERS
# What this product decides itself, and where: naming one of these is a mistake worth its own sentence.
_RESERVED = {
    "device": "set resources.train.device",
    "nthread": "set resources.train.cpus",
    "n_jobs": "set resources.train.cpus",
    "seed": "set training.seed",
    "random_state": "set training.seed",
    "tree_method": "always 'hist', whose results repeat",
    "eval_metric": "early stopping uses the log loss or the squared error; the gate uses training.metric",
    "num_class": "counted in the labels",
    "early_stopping_rounds": "set training.model.early_stopping_rounds",
    "n_estimators": "set training.model.rounds",
    "num_boost_round": "set training.model.rounds",
}
_NOT_FOR_TEXT = frozenset({"mean", "median", "mode", "knn", "iterative"})
_OBJECTIVES: dict[Task, tuple[str, ...]] = {
    "binary": ("binary:logistic",),
    "multiclass": ("multi:softprob",),
    "regression": (
        "reg:squarederror",
        "reg:absoluteerror",
        "reg:pseudohubererror",
        "reg:quantileerror",
        "reg:gamma",
        "reg:tweedie",
        "count:poisson",
    ),
    "quantile": ("reg:quantileerror",),
}


def takes_integers(family: str, parameter: str, low: float) -> bool:
    """Whether tuning must try whole numbers only; `low` is the lower end of the range."""
    if family == "xgboost":
        return parameter in INTEGER_PARAMETERS
    if family in NETWORKS:
        return parameter in _TORCH_INTEGERS
    return parameter in _SKLEARN_INTEGERS or (parameter in _SKLEARN_COUNTS_OR_SHARES and low >= 1)


def default_objective(task: Task) -> str:
    """XGBoost's, for the tasks that it has one for."""
    return _OBJECTIVES[task][0]


def model_problems(pipeline: Pipeline) -> list[str]:
    """Everything that is wrong with the model settings, one sentence each; empty when a training could start."""
    from pipelines.features import feature_types
    from pipelines.models.ranges import tuning_problems

    training = pipeline.training
    if training is None:
        return []
    return [
        *_family_problems(training),
        *_device_problems(pipeline, training),
        *tuning_problems(training),
        *_missing_problems(pipeline, training),
        *preparation_problems(training, feature_types(pipeline)),
        *sequence_problems(training, feature_types(pipeline)),
        *image_problems(training, feature_types(pipeline)),
        *fusion_problems(training, feature_types(pipeline)),
    ]


def _device_problems(pipeline: Pipeline, training: Training) -> list[str]:
    """A GPU for a family that has no use for one: every night would end with E-GPU-MISSING."""
    members = training.model.members.values() if isinstance(training.model, Ensemble) else [training.model]
    if not any(isinstance(member, SklearnEstimator) for member in members):
        return []
    wants = [step for step in ("tune", "train", "evaluate", "score") if _must_use_gpu(pipeline, step)]
    return [
        f"E-MODEL-DEVICE resources.{step}.device: 'cuda' is nothing for scikit-learn's estimators, which run on the "
        "CPU alone. Use 'cpu' or 'auto'."
        for step in wants
    ]


def _must_use_gpu(pipeline: Pipeline, step: str) -> bool:
    resources = pipeline.resources_of(step)
    return resources.device == "cuda" and not resources.allow_cpu


def _family_problems(training: Training) -> list[str]:
    model = training.model
    if training.task == "segments" and not isinstance(model, SklearnEstimator):
        what = f"family '{model.family}' cannot do task 'segments'. Use 'KMeans' of 'sklearn'"
        return [f"E-MODEL-ESTIMATOR training.model.family: {what}"]
    if isinstance(model, Ensemble):
        return _ensemble_problems(model, training)
    if isinstance(model, XGBoost):
        return _xgboost_problems(model, training.task)
    if isinstance(model, TorchMLP):
        return []  # typed all through
    try:
        estimator = estimator_of(model)
    except ConfigError as error:
        return [str(error)]
    problems = [
        f"E-MODEL-PARAMETER training.model.parameters: '{name}' must not be set ({_RESERVED[name]})"
        for name in model.parameters
        if name in ("random_state", "n_jobs")
    ]
    problems += [
        f"E-MODEL-PARAMETER training.model.parameters: '{name}' is fixed to '{value}' for '{model.estimator}'"
        for name, value in estimator.fixed.items()
        if name in model.parameters and model.parameters[name] != value
    ]
    if training.task == "quantile":
        problems += [
            f"E-MODEL-PARAMETER training.model.parameters: '{name}' must not be set (set training.quantile)"
            for name in estimator.of_quantile(0.5)
            if name in model.parameters
        ]
    if training.task not in estimator.tasks:
        problems.append(
            f"E-MODEL-ESTIMATOR training.model.estimator: '{model.estimator}' cannot do task '{training.task}' "
            f"(it does {names(estimator.tasks)}). {fitting_the_task(model.estimator, training.task)}"
        )
    return problems


def _ensemble_problems(model: Ensemble, training: Training) -> list[str]:
    problems = []
    of_stacking = ("quantile", "anomaly")
    unusable = {"stacking": of_stacking, "fusion": of_stacking, "weighted": ("anomaly",)}.get(model.combine, ())
    if training.task in unusable:
        problems.append(
            f"E-MODEL-ENSEMBLE training.model.combine: '{model.combine}' cannot do task '{training.task}'. "
            "Use 'voting' or 'bagging'" + (", or 'weighted'" if training.task == "quantile" else "")
        )
    for name, member in model.members.items():
        alone = training.model_copy(update={"model": member})
        place = f"training.model.members.{name}"
        problems += [problem.replace("training.model", place, 1) for problem in _family_problems(alone)]
    return problems


def _xgboost_problems(model: XGBoost, task: Task) -> list[str]:
    if task not in _OBJECTIVES:
        what = f"family 'xgboost' cannot do task '{task}'. Use 'torch' or an estimator of 'sklearn'"
        return [f"E-MODEL-ESTIMATOR training.model.family: {what}"]
    problems = [problem for name in model.parameters for problem in _parameter_problem(name)]
    if task == "quantile" and "quantile_alpha" in model.parameters:
        problems.append(
            "E-MODEL-PARAMETER training.model.parameters: 'quantile_alpha' must not be set (set training.quantile)"
        )
    objective = model.parameters.get("objective")
    if objective is not None and objective not in _OBJECTIVES[task]:
        problems.append(
            f"E-MODEL-PARAMETER training.model.parameters: 'objective' of task '{task}' must be one of "
            f"{names(_OBJECTIVES[task])}, got {quote(objective)}"
        )
    return problems


def _parameter_problem(name: str) -> list[str]:
    if name in XGBOOST_PARAMETERS:
        return []
    where = "E-MODEL-PARAMETER training.model.parameters"
    if name in _RESERVED:
        return [f"{where}: '{name}' must not be set ({_RESERVED[name]})"]
    return [f"{where}: unknown XGBoost parameter {quote(name)}. {did_you_mean(name, XGBOOST_PARAMETERS)}".rstrip()]


def _missing_problems(pipeline: Pipeline, training: Training) -> list[str]:
    from pipelines.features import feature_types

    types = feature_types(pipeline)
    problems = []
    for name, missing in training.missing.items():
        where = f"E-MODEL-MISSING training.missing.{name}"
        if name != "default" and name not in types:
            problems.append(f"{where}: unknown feature '{name}'. {did_you_mean(name, types)}".rstrip())
        kind = types.get(name)
        numeric_only = (isinstance(missing, Fitted) and missing.strategy != "mode") or isinstance(
            missing, Neighbours | Iterative
        )
        if kind == "category" and numeric_only:
            problems.append(f"{where}: '{missing.strategy}' needs a number; use 'mode' or 'constant' for a category")
        if kind == "text" and missing.strategy in _NOT_FOR_TEXT:
            problems.append(f"{where}: '{missing.strategy}' is nothing for a text; use 'constant' or 'drop', or none")
        if kind == "number" and isinstance(missing, Constant) and isinstance(missing.value, str):
            problems.append(f"{where}: 'value' must be a number, got {quote(missing.value)}")
    return problems
