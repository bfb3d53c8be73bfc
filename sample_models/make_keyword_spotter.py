"""Write keyword_spotter/1/model.onnx, with the package onnx. Its weights are drawn from a fixed seed.

Usage: python make_keyword_spotter.py
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SAMPLES = 16000  # one second of audio
KEYWORDS = 12
LAYERS = ((80, 4, 32), (3, 1, 32), (3, 1, 64), (3, 1, 64))  # width, stride and channels of each convolution
FILE = Path(__file__).parent / "keyword_spotter" / "1" / "model.onnx"


def build() -> onnx.ModelProto:
    """Build the network: convolutions with pooling, the mean over time, and a dense layer."""
    rng = np.random.default_rng(0)
    nodes, weights, channels, last = [], [], 1, "AUDIO_OF_CHANNELS"

    def weight(name, *shape):
        scale = np.sqrt(2 / np.prod(shape[1:]))  # keeps the spread of values from layer to layer
        weights.append(numpy_helper.from_array((rng.standard_normal(shape) * scale).astype(np.float32), name))
        return name

    weights.append(numpy_helper.from_array(np.array([1], np.int64), "CHANNEL_AXIS"))
    nodes.append(helper.make_node("Unsqueeze", ["AUDIO", "CHANNEL_AXIS"], [last]))
    for number, (width, stride, size) in enumerate(LAYERS, 1):
        convolved, active, pooled = (f"{step}_{number}" for step in ("CONVOLVED", "ACTIVE", "POOLED"))
        inputs = [last, weight(f"KERNEL_{number}", size, channels, width)]
        nodes += [
            helper.make_node("Conv", inputs, [convolved], kernel_shape=[width], strides=[stride]),
            helper.make_node("Relu", [convolved], [active]),
            helper.make_node("MaxPool", [active], [pooled], kernel_shape=[4], strides=[4]),
        ]
        last, channels = pooled, size
    nodes += [
        helper.make_node("GlobalAveragePool", [last], ["MEAN"]),
        helper.make_node("Flatten", ["MEAN"], ["FEATURES"]),
        helper.make_node("Gemm", ["FEATURES", weight("DENSE", KEYWORDS, channels)], ["SCORES"], transB=1),
        helper.make_node("Softmax", ["SCORES"], ["PROBABILITIES"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "keyword_spotter",
        [helper.make_tensor_value_info("AUDIO", TensorProto.FLOAT, ["batch", SAMPLES])],
        [helper.make_tensor_value_info("PROBABILITIES", TensorProto.FLOAT, ["batch", KEYWORDS])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


if __name__ == "__main__":
    onnx.save(build(), FILE)
