"""Small models of the Python backend that behave and misbehave on purpose."""

from pathlib import Path

CONFIG = """backend: "python"
max_batch_size: {max_batch_size}
input [{{ name: "X" data_type: TYPE_FP32 dims: [ 2 ] }}]
output [{{ name: "Y" data_type: TYPE_FP32 dims: [ 2 ] }}]
"""
MODEL = """import os, signal, time
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        self.name = args["model_name"]
        {initialize}

    def execute(self, requests):
        responses = []
        for request in requests:
            x = pb_utils.get_input_tensor_by_name(request, "X").as_numpy()
            {execute}
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("Y", x)]))
        return responses

    def finalize(self):
        {finalize}
"""


def write_model(
    repository: Path,
    name: str,
    *,
    execute: str = "time.sleep(0.002)",
    initialize: str = "pass",
    finalize: str = "pass",
    max_batch_size: int = 8,
) -> Path:
    """Write a model that echoes its input; the statements go into its methods. Return its model.py."""
    file = repository / name / "1" / "model.py"
    file.parent.mkdir(parents=True, exist_ok=True)
    (repository / name / "config.pbtxt").write_text(CONFIG.format(max_batch_size=max_batch_size))
    file.write_text(MODEL.format(execute=execute, initialize=initialize, finalize=finalize))
    return file
