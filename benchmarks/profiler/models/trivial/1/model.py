"""A model that answers at once, so that client and server are measured and not the model.

The dynamic batcher joins waiting requests, so that the server can answer more than one client can send.
"""

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Returns the first value of each item."""

    def execute(self, requests):
        answers = []
        for request in requests:
            x = pb_utils.get_input_tensor_by_name(request, "X").as_numpy()
            answers.append(pb_utils.InferenceResponse([pb_utils.Tensor("Y", x[:, :1])]))
        return answers
