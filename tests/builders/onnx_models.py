"""Build small ONNX models of different kinds, and write them into a model repository."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17  # with IR version 8, which onnxruntime knows since 1.11


def write_onnx(repository: Path, name: str, model: onnx.ModelProto, *, config: str | None = None) -> Path:
    """Write a model as version 1 of its folder, with a config.pbtxt if one is given; return its file."""
    file = repository / name / "1" / "model.onnx"
    file.parent.mkdir(parents=True)
    onnx.save(model, str(file))
    if config is not None:
        (repository / name / "config.pbtxt").write_text(config)
    return file


def squeezenet() -> onnx.ModelProto:
    """Return SqueezeNet 1.0 as the package onnx ships it, with weights drawn in place of its constant ones.

    The first dimension, 1 in the file, becomes a variable one.
    """
    folder = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
    model = onnx.load(str(folder / "light_squeezenet.onnx"))
    rng = np.random.default_rng(0)
    kept, constants = [], {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    shapes = {node.input[0] for node in model.graph.node if node.op_type == "ConstantOfShape"}
    for entries in (model.graph.initializer, model.graph.input):
        others = [one for one in entries if one.name not in shapes]
        del entries[:]
        entries.extend(others)
    for node in model.graph.node:
        if node.op_type != "ConstantOfShape":
            kept.append(node)
            continue
        shape = tuple(int(n) for n in constants[node.input[0]])
        spread = np.sqrt(2 / max(1, np.prod(shape[1:])))
        weights = (rng.standard_normal(shape) * spread).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(weights, node.output[0]))
    del model.graph.node[:]
    model.graph.node.extend(kept)
    for entry in (*model.graph.input, *model.graph.output):
        if entry.name in ("data_0", "softmaxout_1"):
            entry.type.tensor_type.shape.dim[0].dim_param = "batch"
    return model


def transformer_encoder(*, width: int = 64, heads: int = 4, layers: int = 2, words: int = 200) -> onnx.ModelProto:
    """Build a transformer encoder (Vaswani et al. 2017, post-norm): tokens and their mask → a vector for each text."""
    graph = _Graph()
    embedded = graph.add("Gather", graph.weight(words, width), "TOKENS")
    mask = graph.add("Cast", "MASK", to=TensorProto.FLOAT)
    bias = graph.add("Mul", graph.add("Sub", mask, graph.constant(1.0)), graph.constant(1e4))
    bias = graph.add("Unsqueeze", bias, graph.integers(1, 2))  # [batch, 1, 1, length]
    x = embedded
    for _ in range(layers):
        x = graph.norm(graph.add("Add", x, _attention(graph, x, bias, width, heads)), width)
        hidden = graph.add("Relu", graph.dense(x, width, 4 * width))
        x = graph.norm(graph.add("Add", x, graph.dense(hidden, 4 * width, width)), width)
    kept = graph.add("Unsqueeze", mask, graph.integers(2))
    total = graph.add("ReduceSum", graph.add("Mul", x, kept), graph.integers(1), keepdims=0)
    count = graph.add("ReduceSum", mask, graph.integers(1), keepdims=1)
    graph.add("Div", total, count, output="EMBEDDING")
    texts = [_value(name, TensorProto.INT64, "batch", "length") for name in ("TOKENS", "MASK")]
    return graph.model(texts, [_value("EMBEDDING", TensorProto.FLOAT, "batch", width)])


def gradient_boosted_trees() -> onnx.ModelProto:
    """Train trees on scikit-learn's wines, and convert them by skl2onnx: 13 figures → class and probabilities."""
    from skl2onnx import to_onnx
    from sklearn.datasets import load_wine
    from sklearn.ensemble import GradientBoostingClassifier

    figures, classes = load_wine(return_X_y=True)
    trees = GradientBoostingClassifier(n_estimators=20, random_state=0).fit(figures, classes)
    return to_onnx(trees, figures[:1].astype(np.float32), options={"zipmap": False}, target_opset=OPSET)


def string_classifier() -> onnx.ModelProto:
    """Train a classifier of two columns of text, converted by skl2onnx: strings → a string and probabilities."""
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import StringTensorType
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    rows = np.array([[city, kind] for city in ("Köln", "Oslo", "Lima") for kind in ("rain", "sun")], dtype=object)
    answers = np.array(["umbrella", "hat", "coat", "hat", "hat", "hat"])
    fitted = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression()).fit(rows, answers)
    declared = [("TEXT", StringTensorType([None, 2]))]
    return to_onnx(fitted, initial_types=declared, options={"zipmap": False}, target_opset=OPSET)


def scaled(factor: float = 2.0, *, dims: tuple[Any, ...] = ("batch", 4)) -> onnx.ModelProto:
    """Build Y = factor · X, in FP32, with these dimensions; a text stands for a variable one."""
    graph = _Graph()
    graph.add("Mul", "X", graph.constant(factor), output="Y")
    return graph.model([_value("X", TensorProto.FLOAT, *dims)], [_value("Y", TensorProto.FLOAT, *dims)])


def with_weights(size: int) -> onnx.ModelProto:
    """Build Y = X + W, with `size` drawn weights, which may be kept in a file of their own."""
    graph = _Graph()
    graph.add("Add", "X", graph.weight(size), output="Y")
    tensors = [_value(name, TensorProto.FLOAT, "batch", size) for name in ("X", "Y")]
    return graph.model(tensors[:1], tensors[1:])


def with_start() -> onnx.ModelProto:
    """Build Y = X + START, one number an item."""
    graph = _Graph()
    graph.add("Add", "X", "START", output="Y")
    x, start, y = (_value(name, TensorProto.FLOAT, "batch", 1) for name in ("X", "START", "Y"))
    return graph.model([x, start], [y])


class _Graph:
    """A graph that is built node by node; names are numbered."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._rng = np.random.default_rng(0)

    def add(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        name = output or f"{kind}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def dense(self, x: str, size: int, to: int) -> str:
        return self.add("Add", self.add("MatMul", x, self.weight(size, to)), self.weight(to))

    def norm(self, x: str, width: int) -> str:
        return self.add("LayerNormalization", x, self.weight(width), self.weight(width), axis=-1)

    def weight(self, *shape: int) -> str:
        return self._keep((self._rng.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32))

    def constant(self, value: float) -> str:
        return self._keep(np.array(value, np.float32))

    def integers(self, *values: int) -> str:
        return self._keep(np.array(values, np.int64))

    def _keep(self, array: np.ndarray[Any, Any]) -> str:
        name = f"W_{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(array, name))
        return name

    def model(self, inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto]) -> onnx.ModelProto:
        graph = helper.make_graph(self._nodes, "built", inputs, outputs, self._weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
        onnx.checker.check_model(model)
        return model


def _attention(graph: _Graph, x: str, bias: str, width: int, heads: int) -> str:
    split = graph.integers(0, 0, heads, width // heads)

    def of_heads(order: list[int]) -> str:
        return graph.add("Transpose", graph.add("Reshape", graph.dense(x, width, width), split), perm=order)

    queries, keys, values = of_heads([0, 2, 1, 3]), of_heads([0, 2, 3, 1]), of_heads([0, 2, 1, 3])
    scores = graph.add("Div", graph.add("MatMul", queries, keys), graph.constant(float(np.sqrt(width // heads))))
    shares = graph.add("Softmax", graph.add("Add", scores, bias), axis=-1)
    mixed = graph.add("Transpose", graph.add("MatMul", shares, values), perm=[0, 2, 1, 3])
    return graph.dense(graph.add("Reshape", mixed, graph.integers(0, 0, width)), width, width)


def _value(name: str, kind: int, *dims: Any) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, list(dims))
