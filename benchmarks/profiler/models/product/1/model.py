"""A model that is bound by the processor: one product of two 256 x 256 matrices for each item."""

import os

for library in ("OMP", "OPENBLAS", "MKL"):  # before NumPy loads its BLAS: one thread, so that timings are stable
    os.environ[f"{library}_NUM_THREADS"] = "1"

import numpy as np  # noqa: E402
import triton_python_backend_utils as pb_utils  # noqa: E402


class TritonPythonModel:
    """Returns one element of each product, times the item's first value."""

    def initialize(self, args):
        self.weights = np.random.default_rng(0).standard_normal((256, 256), dtype=np.float32)

    def execute(self, requests):
        answers = []
        for request in requests:
            x = pb_utils.get_input_tensor_by_name(request, "X").as_numpy()
            y = np.array([[(self.weights @ self.weights)[0, 0] * item[0]] for item in x], dtype=np.float32)
            answers.append(pb_utils.InferenceResponse([pb_utils.Tensor("Y", y)]))
        return answers
