"""Sleeps for 10 ms a request, and computes nothing."""

import time

import numpy as np
import triton_python_backend_utils as pb_utils

SECONDS = 0.010


class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            items = len(pb_utils.get_input_tensor_by_name(request, "X").as_numpy())
            time.sleep(SECONDS)
            found = np.zeros((items, 1), np.float32)
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("Y", found)]))
        return responses
