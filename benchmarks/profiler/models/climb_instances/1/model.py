"""A model whose duration its configuration says: a part for each batch and a part for each item, slept or computed."""

import json
import time

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Returns the first value of each item."""

    def initialize(self, args):
        parameters = json.loads(args["model_config"])["parameters"]
        self.batch_s, self.item_s = (float(parameters[name]["string_value"]) for name in ("batch_s", "item_s"))
        self.computes = parameters["computes"]["string_value"] == "yes"

    def execute(self, requests):
        """Take the requests that the dynamic batcher joined as one batch."""
        inputs = [pb_utils.get_input_tensor_by_name(request, "X").as_numpy() for request in requests]
        duration_s = self.batch_s + self.item_s * sum(len(x) for x in inputs)
        if self.computes:
            end_s = time.thread_time() + duration_s
            while time.thread_time() < end_s:
                pass
        else:
            time.sleep(duration_s)
        return [pb_utils.InferenceResponse([pb_utils.Tensor("Y", x[:, :1])]) for x in inputs]
