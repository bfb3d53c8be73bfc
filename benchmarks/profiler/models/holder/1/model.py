"""A model that holds memory, and takes more for each item while it runs; its configuration says how much."""

import json
import time

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Returns the first value of each item."""

    def initialize(self, args):
        parameters = json.loads(args["model_config"])["parameters"]
        held, self.taken, self.pause_s = (
            float(parameters[name]["string_value"]) for name in ("hold_mib", "take_mib_an_item", "pause_s")
        )
        self.held = np.ones(int(held * 2**20), np.uint8)  # ones, so that every page is allocated

    def execute(self, requests):
        answers = []
        for request in requests:
            x = pb_utils.get_input_tensor_by_name(request, "X").as_numpy()
            work = np.ones(int(self.taken * len(x) * 2**20), np.uint8)
            time.sleep(self.pause_s)
            del work
            answers.append(pb_utils.InferenceResponse([pb_utils.Tensor("Y", x[:, :1])]))
        return answers
