"""Fitted estimators inside an ONNX graph: the prepared matrix in, raw scores out, as `Model` computes them."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, load_from_string

from pipelines.errors import quote
from pipelines.models.model import Model
from pipelines.serving.onnx_features import cannot
from pipelines.serving.onnx_graph import ML, ML_OPSET, OPSET, Graph
from pipelines.settings.tasks import VALUE_TASKS

# Trees of scikit-learn compare 32 bits, and skl2onnx writes these with 32 bits alone.
_SINGLE = ("Tree", "Forest", "Trees", "GradientBoosting", "AdaBoost")
_SINGLE_NAMES = ("SVR", "IsolationForest")


def estimated(graph: Graph, model: Model, matrix: str) -> str:
    """Scores `(n, 1)`, or `(n, k)` for several classes, in float64; for anomalies how strange, from 0 up.

    Raises:
        ModelError: E-MODEL-ONNX when this estimator has no form in ONNX.
    """
    if model.family == "xgboost":
        return _xgboost(graph, model, matrix)
    if model.family == "torch":
        return _network(graph, model, matrix)
    if model.task == "segments":
        raise cannot("model", "segments have no form in ONNX here")
    if model.family == "sklearn":
        return _sklearn(graph, model, matrix)
    raise cannot("model", f"family {quote(model.family)} has no form in ONNX here")


def converted(graph: Graph, fitted: Any, matrix: str, columns: int, is_single: bool, **options: Any) -> list[str]:
    """The outputs of skl2onnx's graph of a fitted scikit-learn estimator."""
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

    kind = FloatTensorType if is_single else DoubleTensorType
    given = graph.cast(matrix, TensorProto.FLOAT) if is_single else matrix
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = to_onnx(
                fitted,
                initial_types=[("x", kind([None, columns]))],
                options={id(fitted): options} if options else None,
                target_opset={"": OPSET, ML: ML_OPSET},
            )
    # The converters raise whatever goes wrong inside them.
    except Exception as error:
        reason = str(error).split("\n")[0][:150]
        raise cannot(type(fitted).__name__, f"skl2onnx cannot convert it: {type(error).__name__}: {reason}") from error
    return graph.take_in(made, {"x": given})


def probabilities(graph: Graph, fitted: Any, found: str, task: str, classes: int) -> str:
    """`(n, 1)` P(positive), or `(n, classes)` with 0 for a class that had no training rows."""
    places = np.zeros((len(fitted.classes_), classes))
    places[np.arange(len(fitted.classes_)), np.asarray(fitted.classes_, dtype=int)] = 1
    wanted = places[:, 1:2] if task == "binary" else places
    return graph.add("MatMul", graph.cast(found, TensorProto.DOUBLE), graph.constant(wanted))


def _sklearn(graph: Graph, model: Model, matrix: str) -> str:
    fitted, name = model.estimator, model.estimator_name
    columns = len(model.preprocess.output_names)
    single = name in _SINGLE_NAMES or any(part in name for part in _SINGLE)
    if model.task == "anomaly":
        return _strangeness(graph, fitted, matrix, columns, single)
    if hasattr(fitted, "_predictors"):
        return _histogram_boosting(graph, model, matrix)
    if model.task in VALUE_TASKS:
        return _column(graph, converted(graph, fitted, matrix, columns, single)[0])
    count = 2 if model.task == "binary" else len(model.classes)
    if name == "LinearDiscriminantAnalysis" and len(fitted.classes_) == 2:
        found = _two_classes(graph, fitted, matrix)  # skl2onnx 1.20 takes its one log-odds for two
    else:
        found = converted(graph, fitted, matrix, columns, single, zipmap=False)[1]
    return probabilities(graph, fitted, found, model.task, count)


def _two_classes(graph: Graph, fitted: Any, matrix: str) -> str:
    odds = graph.add("MatMul", matrix, graph.constant(fitted.coef_.T))
    positive = graph.add("Sigmoid", graph.add("Add", odds, graph.constant(fitted.intercept_)))
    return graph.add("Concat", graph.add("Sub", graph.constant(1), positive), positive, axis=1)


def _strangeness(graph: Graph, fitted: Any, matrix: str, columns: int, single: bool) -> str:
    """As `pipelines.models.anomalies.strangeness`."""
    if hasattr(fitted, "mahalanobis"):
        centred = graph.add("Sub", matrix, graph.constant(fitted.location_))
        weighted = graph.add("MatMul", centred, graph.constant(fitted.get_precision()))
        return graph.add("ReduceSum", graph.add("Mul", weighted, centred), graph.constant([1], np.int64), keepdims=1)
    if hasattr(fitted, "cluster_centers_"):
        distances = graph.cast(converted(graph, fitted, matrix, columns, single)[1], TensorProto.DOUBLE)
        return graph.add("ReduceMin", distances, graph.constant([1], np.int64), keepdims=1)
    return graph.add("Neg", _column(graph, converted(graph, fitted, matrix, columns, single, score_samples=True)[-1]))


def _histogram_boosting(graph: Graph, model: Model, matrix: str) -> str:
    """Written here: skl2onnx 1.20 gives protobuf 7 a boolean where it wants a number."""
    fitted = model.estimator
    trees = [(target, tree.nodes) for row in fitted._predictors for target, tree in enumerate(row)]
    nodes = [(tree, number, node) for tree, (_, all_of) in enumerate(trees) for number, node in enumerate(all_of)]
    leaves = [(tree, number, node) for tree, number, node in nodes if node["is_leaf"]]
    if any(node["is_categorical"] for _, _, node in nodes):
        raise cannot(model.estimator_name, "its splits on categories have no converter")
    raw = graph.add(
        "TreeEnsembleRegressor",
        matrix,
        domain=ML,
        n_targets=len(fitted._predictors[0]),
        nodes_treeids=[tree for tree, _, _ in nodes],
        nodes_nodeids=[number for _, number, _ in nodes],
        nodes_featureids=[int(node["feature_idx"]) * (not node["is_leaf"]) for _, _, node in nodes],
        nodes_modes=["LEAF" if node["is_leaf"] else "BRANCH_LEQ" for _, _, node in nodes],
        nodes_values_as_tensor=_tensor([0.0 if node["is_leaf"] else node["num_threshold"] for _, _, node in nodes]),
        nodes_truenodeids=[int(node["left"]) for _, _, node in nodes],
        nodes_falsenodeids=[int(node["right"]) for _, _, node in nodes],
        nodes_missing_value_tracks_true=[int(node["missing_go_to_left"]) for _, _, node in nodes],
        target_treeids=[tree for tree, _, _ in leaves],
        target_nodeids=[number for _, number, _ in leaves],
        target_ids=[trees[tree][0] for tree, _, _ in leaves],
        target_weights_as_tensor=_tensor([node["value"] for _, _, node in leaves]),
    )
    start = np.asarray(fitted._baseline_prediction, dtype=np.float64).reshape(1, -1)
    scores = graph.add("Add", graph.cast(raw, TensorProto.DOUBLE), graph.constant(start))
    if model.task in VALUE_TASKS:
        return graph.add("Exp", scores) if fitted._loss.link.__class__.__name__ == "LogLink" else scores
    if len(fitted.classes_) == 2:
        positive = graph.add("Sigmoid", scores)
        scores = graph.add("Concat", graph.add("Sub", graph.constant(1), positive), positive, axis=1)
    else:
        scores = graph.add("Softmax", scores, axis=1)
    return probabilities(graph, fitted, scores, model.task, 2 if model.task == "binary" else len(model.classes))


def _tensor(values: list[float]) -> TensorProto:
    from onnx import numpy_helper

    return numpy_helper.from_array(np.asarray(values, dtype=np.float64))


def _xgboost(graph: Graph, model: Model, matrix: str) -> str:
    from onnxmltools.convert import convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType

    columns = len(model.preprocess.output_names)
    try:
        made = convert_xgboost(
            model.estimator, initial_types=[("x", FloatTensorType([None, columns]))], target_opset=15
        )
    # The converter raises whatever goes wrong inside it.
    except Exception as error:
        raise cannot("XGBoost", f"onnxmltools cannot convert it: {str(error)[:150]}") from error
    found = graph.cast(graph.take_in(made, {"x": graph.cast(matrix, TensorProto.FLOAT)})[-1], TensorProto.DOUBLE)
    if model.task == "binary":
        return graph.add("Gather", found, graph.constant([1], np.int64), axis=1)
    return found if model.task == "multiclass" else _column(graph, found)


def _network(graph: Graph, model: Model, matrix: str) -> str:
    """As `Network.scores`: the layers in 32 bits, what follows in 64."""
    network = model.estimator
    if network.shape.sequence is not None:
        raise cannot("network", "sequences of events have no form in ONNX here")
    raw, inputs = (
        graph.cast(one, TensorProto.DOUBLE)
        for one in graph.take_in(_exported(network), {"x": graph.cast(matrix, TensorProto.FLOAT)})
    )
    if model.task == "multiclass":
        return graph.add("Softmax", raw, axis=1)
    if model.task == "anomaly":
        apart = graph.add("Sub", raw, inputs)
        return graph.add("ReduceMean", graph.add("Mul", apart, apart), graph.constant([1], np.int64), keepdims=1)
    first = graph.add("Gather", raw, graph.constant([0], np.int64), axis=1)
    if model.task == "binary":
        return graph.add("Sigmoid", first)
    scaled = graph.add("Mul", first, graph.constant(network.scale.double().numpy()))
    return graph.add("Add", scaled, graph.constant(network.center.double().numpy()))


def _exported(network: Any) -> ModelProto:
    """`(raw, inputs)` of a network. The older exporter of PyTorch: it needs no further package, and traces in ms."""
    import torch

    class Both(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self.network(x), self.network.inputs(x)

    sink: Any = io.BytesIO()  # which this exporter takes, though its types do not say so
    example = torch.zeros((2, len(network.shape.categories)))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                Both().eval(),
                (example,),
                sink,
                input_names=["x"],
                output_names=["raw", "inputs"],
                dynamic_axes={"x": {0: "rows"}},
                opset_version=OPSET,
                dynamo=False,
            )
    except (torch.onnx.errors.OnnxExporterError, RuntimeError, NotImplementedError) as error:
        raise cannot("network", f"PyTorch cannot export it: {str(error)[:150]}") from error
    return load_from_string(sink.getvalue())


def _column(graph: Graph, value: str) -> str:
    """Float64 `(n, 1)`, whatever its shape was."""
    return graph.add("Reshape", graph.cast(value, TensorProto.DOUBLE), graph.constant([-1, 1], np.int64))
