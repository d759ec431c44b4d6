"""The scikit-learn estimators that a pipeline may name, and what each needs. scikit-learn is not imported here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pipelines.errors import ConfigError, did_you_mean, names, quote
from pipelines.settings.families import SklearnEstimator
from pipelines.settings.tasks import Task
from pipelines.settings.training import Training

_CLASSIFIER: tuple[Task, ...] = ("binary", "multiclass")
_REGRESSOR: tuple[Task, ...] = ("regression",)
_WITH_QUANTILE: tuple[Task, ...] = ("regression", "quantile")


@dataclass(frozen=True)
class Estimator:
    """Where an allowed scikit-learn estimator lives and what it needs.

    `calibrated`: it only ranks, and its probabilities are learnt on five folds of the training rows (Platt 1999).
    `trusted` are the types beyond skops' own defaults that its file holds; nothing else is ever loaded. `quantile` is
    the parameter that says which quantile is predicted.
    """

    module: str
    tasks: tuple[Task, ...]
    kind: str
    scaled: bool = False
    takes_missing: bool = False
    seeded: bool = False
    threaded: bool = False
    calibrated: bool = False
    fixed: dict[str, Any] = field(default_factory=dict)
    trusted: tuple[str, ...] = ()
    quantile: str | None = None

    def of_quantile(self, quantile: float) -> dict[str, Any]:
        """The parameters that make it predict this quantile."""
        if self.quantile is None:
            return {}
        return {self.quantile: quantile} | ({"loss": "quantile"} if "regression" in self.tasks else {})


_TREE = ("sklearn.tree._tree.Tree",)
_HISTOGRAM = ("sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",)
_NETWORK = (
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
)
_CALIBRATION = ("sklearn.calibration._CalibratedClassifier", "sklearn.calibration._SigmoidCalibration")
# 'brute' keeps the fitted file free of compiled index types; the answers are the same.
_BRUTE = {"algorithm": "brute"}


def _linear(tasks: tuple[Task, ...], seeded: bool = True, **fixed: Any) -> Estimator:
    return Estimator("sklearn.linear_model", tasks, "linear", scaled=True, seeded=seeded, fixed=fixed)


def _trees(name: str, tasks: tuple[Task, ...], kind: str, threaded: bool = True) -> Estimator:
    return Estimator(name, tasks, kind, takes_missing=True, seeded=True, threaded=threaded, trusted=_TREE)


def _boosted(tasks: tuple[Task, ...], quantile: str | None = None) -> Estimator:
    kind = "gradient boosting"
    return Estimator("sklearn.ensemble", tasks, kind, seeded=True, trusted=_TREE, quantile=quantile)


def _histogram(tasks: tuple[Task, ...], quantile: str | None = None) -> Estimator:
    return Estimator(
        "sklearn.ensemble",
        tasks,
        "gradient boosting",
        takes_missing=True,
        seeded=True,
        trusted=_HISTOGRAM,
        quantile=quantile,
    )


def _machine(tasks: tuple[Task, ...], seeded: bool = False, calibrated: bool = False) -> Estimator:
    trusted = _CALIBRATION if calibrated else ()
    return Estimator(
        "sklearn.svm",
        tasks,
        "support vector machine",
        scaled=True,
        seeded=seeded,
        calibrated=calibrated,
        trusted=trusted,
    )


def _discriminant(**fixed: Any) -> Estimator:
    return Estimator("sklearn.discriminant_analysis", _CLASSIFIER, "discriminant", scaled=True, fixed=fixed)


def _bayes(scaled: bool = False) -> Estimator:
    return Estimator("sklearn.naive_bayes", _CLASSIFIER, "naive Bayes", scaled=scaled)


def _neighbours(tasks: tuple[Task, ...]) -> Estimator:
    return Estimator("sklearn.neighbors", tasks, "nearest neighbours", scaled=True, threaded=True, fixed=_BRUTE)


def _network(tasks: tuple[Task, ...]) -> Estimator:
    return Estimator("sklearn.neural_network", tasks, "neural network", scaled=True, seeded=True, trusted=_NETWORK)


ESTIMATORS: dict[str, Estimator] = {
    "LogisticRegression": _linear(_CLASSIFIER),
    "SGDClassifier": _linear(_CLASSIFIER, loss="log_loss"),
    "LinearRegression": _linear(_REGRESSOR, seeded=False),
    "Ridge": _linear(_REGRESSOR),
    "Lasso": _linear(_REGRESSOR),
    "ElasticNet": _linear(_REGRESSOR),
    "BayesianRidge": _linear(_REGRESSOR, seeded=False),
    "HuberRegressor": _linear(_REGRESSOR, seeded=False),
    "PoissonRegressor": _linear(_REGRESSOR, seeded=False),
    "GammaRegressor": _linear(_REGRESSOR, seeded=False),
    "SGDRegressor": _linear(_REGRESSOR),
    "QuantileRegressor": Estimator("sklearn.linear_model", ("quantile",), "linear", scaled=True, quantile="quantile"),
    "LinearDiscriminantAnalysis": _discriminant(),
    "DecisionTreeClassifier": _trees("sklearn.tree", _CLASSIFIER, "tree", threaded=False),
    "DecisionTreeRegressor": _trees("sklearn.tree", _REGRESSOR, "tree", threaded=False),
    "RandomForestClassifier": _trees("sklearn.ensemble", _CLASSIFIER, "forest"),
    "RandomForestRegressor": _trees("sklearn.ensemble", _REGRESSOR, "forest"),
    "ExtraTreesClassifier": _trees("sklearn.ensemble", _CLASSIFIER, "forest"),
    "ExtraTreesRegressor": _trees("sklearn.ensemble", _REGRESSOR, "forest"),
    "GradientBoostingClassifier": _boosted(_CLASSIFIER),
    "GradientBoostingRegressor": _boosted(_WITH_QUANTILE, quantile="alpha"),
    "HistGradientBoostingClassifier": _histogram(_CLASSIFIER),
    "HistGradientBoostingRegressor": _histogram(_WITH_QUANTILE, quantile="quantile"),
    "AdaBoostClassifier": _boosted(_CLASSIFIER),
    "AdaBoostRegressor": _boosted(_REGRESSOR),
    "SVC": _machine(_CLASSIFIER, calibrated=True),
    "LinearSVC": _machine(_CLASSIFIER, seeded=True, calibrated=True),
    "SVR": _machine(_REGRESSOR),
    "LinearSVR": _machine(_REGRESSOR, seeded=True),
    "KNeighborsClassifier": _neighbours(_CLASSIFIER),
    "KNeighborsRegressor": _neighbours(_REGRESSOR),
    "GaussianNB": _bayes(),
    "BernoulliNB": _bayes(scaled=True),  # it asks of each number whether it is above 0: above the mean
    "MLPClassifier": _network(_CLASSIFIER),
    "MLPRegressor": _network(_REGRESSOR),
    "IsolationForest": Estimator(
        "sklearn.ensemble", ("anomaly",), "anomaly detector", seeded=True, threaded=True, trusted=_TREE
    ),
    "LocalOutlierFactor": Estimator(
        "sklearn.neighbors",
        ("anomaly",),
        "anomaly detector",
        scaled=True,
        threaded=True,
        fixed={**_BRUTE, "novelty": True},
    ),
    "EllipticEnvelope": Estimator("sklearn.covariance", ("anomaly",), "anomaly detector", scaled=True, seeded=True),
    "KMeans": Estimator("sklearn.cluster", ("anomaly", "segments"), "clustering", scaled=True, seeded=True),
    "DummyClassifier": Estimator(
        "sklearn.dummy", _CLASSIFIER, "constant", takes_missing=True, fixed={"strategy": "prior"}
    ),
    "DummyRegressor": Estimator("sklearn.dummy", _REGRESSOR, "constant", takes_missing=True),
}


def estimator_of(settings: SklearnEstimator) -> Estimator:
    """The allowed estimator that the settings name.

    Raises:
        ConfigError: E-MODEL-ESTIMATOR, with the nearest allowed name.
    """
    found = ESTIMATORS.get(settings.estimator)
    if found is None:
        raise ConfigError(
            "E-MODEL-ESTIMATOR",
            "training.model.estimator",
            f"must be an allowed scikit-learn estimator, got {quote(settings.estimator)}",
            did_you_mean(settings.estimator, ESTIMATORS) or f"Allowed are e.g. {names(sorted(ESTIMATORS))}.",
        )
    return found


def estimator_parameters(training: Training) -> dict[str, Any]:
    """Those given, with what the product fixes; lists of YAML as the tuples that scikit-learn wants."""
    model = training.model
    if not isinstance(model, SklearnEstimator):
        raise TypeError("not a scikit-learn model")
    own = estimator_of(model)
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in model.parameters.items()}
    quantile = {} if training.quantile is None else own.of_quantile(training.quantile)
    return {**given, **own.fixed, **quantile}


def fitting_the_task(estimator: str, task: Task) -> str:
    """A sentence with the estimator that does for this task what the named one does for another."""
    able = [name for name, one in ESTIMATORS.items() if task in one.tasks]
    alike = [name for name in able if ESTIMATORS[name].kind == ESTIMATORS[estimator].kind]
    return did_you_mean(estimator, alike) or (
        f"Did you mean '{alike[0]}'?" if alike else f"Those that do: {names(able)}."
    )
