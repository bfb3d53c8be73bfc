"""Fills memory bandwidth: copies 32 MiB, more than a processor's share of the cache, four times a request."""

import numpy as np
import triton_python_backend_utils as pb_utils

COPIES = 4


class TritonPythonModel:
    def initialize(self, args):
        self.source = np.ones(4 << 20)
        self.target = np.zeros(4 << 20)

    def execute(self, requests):
        responses = []
        for request in requests:
            items = len(pb_utils.get_input_tensor_by_name(request, "X").as_numpy())
            for _ in range(COPIES):
                np.copyto(self.target, self.source)
            found = np.full((items, 1), self.target[0], np.float32)
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("Y", found)]))
        return responses
