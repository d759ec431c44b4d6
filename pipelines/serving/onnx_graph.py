"""A graph of ONNX operators as it is written down: values by name, other graphs taken in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

OPSET = 18
ML_OPSET = 3
ML = "ai.onnx.ml"
# Of the file: what onnxruntime 1.16 and later read.
_FILE_VERSION = 9


class Graph:
    """Values are names; `add` and `constant` return the name of what they add. Numbers are float64 unless said."""

    def __init__(self) -> None:
        self._nodes: list[NodeProto] = []
        self._constants: list[TensorProto] = []
        self._inputs: list[ValueInfoProto] = []
        self._functions = 0

    def input(self, name: str, kind: int) -> str:
        """A column `(n, 1)` that the file's user gives; `kind` is TensorProto.DOUBLE or STRING."""
        self._inputs.append(helper.make_tensor_value_info(name, kind, ["rows", 1]))
        return name

    def constant(self, value: Any, dtype: Any = np.float64) -> str:
        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(value, dtype=dtype), name))
        return name

    def add(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        name = f"value_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, list(inputs), [name], domain=domain, **attributes))
        return name

    def cast(self, value: str, kind: int) -> str:
        return self.add("Cast", value, to=kind)

    def take_in(self, model: ModelProto, given: Mapping[str, str]) -> list[str]:
        """Adds the nodes of another model whose inputs are the values `given`; returns its outputs."""
        self._functions += 1
        prefix = f"part_{self._functions}/"
        renamed = {"": "", **given}
        for tensor in model.graph.initializer:
            copy = TensorProto()
            copy.CopyFrom(tensor)
            copy.name = renamed[tensor.name] = prefix + tensor.name
            self._constants.append(copy)
        for node in model.graph.node:
            copy = NodeProto()
            copy.CopyFrom(node)
            renamed |= {name: prefix + name for name in node.output if name}
            copy.input[:] = [renamed[name] for name in node.input]
            copy.output[:] = [renamed[name] for name in node.output]
            copy.name = prefix + node.name
            self._nodes.append(copy)
        return [renamed[one.name] for one in model.graph.output]

    def finish(self, output: str, shape: Sequence[str | int], metadata: Mapping[str, str]) -> ModelProto:
        """The model whose one result, called `score`, is this value."""
        self._nodes.append(helper.make_node("Identity", [output], ["score"]))
        result = helper.make_tensor_value_info("score", TensorProto.DOUBLE, list(shape))
        graph = helper.make_graph(self._nodes, "nightshift", self._inputs, [result], self._constants)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(ML, ML_OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, producer_name="nightshift", ir_version=_FILE_VERSION)
        helper.set_model_props(model, dict(metadata))
        return model
