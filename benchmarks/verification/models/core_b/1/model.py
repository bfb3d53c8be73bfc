"""Keeps a core busy: 10 ms of processor time a request, in the interpreter, with hardly any memory."""

import time

import numpy as np
import triton_python_backend_utils as pb_utils

SECONDS = 0.010


class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            items = len(pb_utils.get_input_tensor_by_name(request, "X").as_numpy())
            until = time.process_time() + SECONDS
            steps = 0
            while time.process_time() < until:
                steps += 1
            found = np.full((items, 1), steps, np.float32)
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("Y", found)]))
        return responses
