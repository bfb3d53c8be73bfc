"""Write small models of the Python backend, including ones that fail on purpose."""

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
STREAM = """import time

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        for request in requests:
            sender = request.get_response_sender()
            for _ in range(4):
                time.sleep(0.02)
                sender.send(pb_utils.InferenceResponse([pb_utils.Tensor("Y", np.ones((1, 2), np.float32))]))
            sender.send(pb_utils.InferenceResponse([]))
            sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
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
    """Write a model that returns its input, with the given statements in its methods; return its model.py."""
    file = repository / name / "1" / "model.py"
    file.parent.mkdir(parents=True, exist_ok=True)
    (repository / name / "config.pbtxt").write_text(CONFIG.format(max_batch_size=max_batch_size))
    file.write_text(MODEL.format(execute=execute, initialize=initialize, finalize=finalize))
    return file


ENSEMBLE = """platform: "ensemble"
max_batch_size: 8
input [{ name: "X" data_type: TYPE_FP32 dims: [ 2 ] }]
output [{ name: "Y" data_type: TYPE_FP32 dims: [ 2 ] }]
ensemble_scheduling { step [
"""
STEP = (
    '  {{ model_name: "{name}" model_version: -1 input_map {{ key: "X" value: "{source}" }}'
    ' output_map {{ key: "Y" value: "{target}" }} }}'
)
CALL = """y = pb_utils.InferenceRequest(
                model_name="{name}", requested_output_names=["Y"], inputs=[pb_utils.Tensor("X", x)]
            ).exec()
            if y.has_error():
                raise ValueError(y.error().message())"""
AUTO_COMPLETE = """
    @staticmethod
    def auto_complete_config(config):
        config.add_input({{"name": "X", "data_type": "TYPE_FP32", "dims": [2]}})
        config.add_output({{"name": "Y", "data_type": "TYPE_FP32", "dims": [2]}})
        config.set_max_batch_size({max_batch_size})
        return config
"""


def write_stream(repository: Path, name: str) -> None:
    """Write a decoupled Python model that answers with four responses 20 ms apart and an empty one."""
    write_model(repository, name).write_text(STREAM)
    config = repository / name / "config.pbtxt"
    config.write_text(config.read_text() + "model_transaction_policy { decoupled: true }")


def write_ensemble(repository: Path, name: str, steps: list[str]) -> None:
    """Write an ensemble whose steps follow each other."""
    (repository / name / "1").mkdir(parents=True)
    names = ["X", *(f"between_{i}" for i in range(1, len(steps))), "Y"]
    lines = [STEP.format(name=step, source=names[i], target=names[i + 1]) for i, step in enumerate(steps)]
    (repository / name / "config.pbtxt").write_text(ENSEMBLE + ",\n".join(lines) + "\n] }\n")


def write_caller(repository: Path, name: str, called: str) -> None:
    """Write a model whose business logic calls another model, which its configuration names."""
    write_model(repository, name, execute=CALL.format(name=called))
    with (repository / name / "config.pbtxt").open("a") as config:
        config.write(f'parameters {{ key: "depends_on" value {{ string_value: "{called}" }} }}\n')


def write_without_config(repository: Path, name: str, *, max_batch_size: int) -> None:
    """Write a model without a config.pbtxt; its code completes Triton's configuration."""
    file = write_model(repository, name)
    (repository / name / "config.pbtxt").unlink()
    told = AUTO_COMPLETE.format(max_batch_size=max_batch_size)
    file.write_text(file.read_text().replace("class TritonPythonModel:", f"class TritonPythonModel:{told}"))
