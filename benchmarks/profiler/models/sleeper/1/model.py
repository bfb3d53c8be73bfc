"""A model of known throughput: it sleeps 5 ms for each request and 1 ms more for each item."""

import time

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Returns the first value of each item."""

    def execute(self, requests):
        answers = []
        for request in requests:
            x = pb_utils.get_input_tensor_by_name(request, "X").as_numpy()
            time.sleep(0.005 + 0.001 * len(x))
            answers.append(pb_utils.InferenceResponse([pb_utils.Tensor("Y", x[:, :1])]))
        return answers
