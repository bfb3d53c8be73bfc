"""Sleeps 5 ms a request and 1 ms more an item: a model whose throughput is known without measuring it."""

import time

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Gives the first value of each item."""

    def execute(self, requests):
        answers = []
        for request in requests:
            x = pb_utils.get_input_tensor_by_name(request, "X").as_numpy()
            time.sleep(0.005 + 0.001 * len(x))
            answers.append(pb_utils.InferenceResponse([pb_utils.Tensor("Y", x[:, :1])]))
        return answers
