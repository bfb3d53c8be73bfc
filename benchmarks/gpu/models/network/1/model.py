"""A stack of linear layers in PyTorch, which writes a report of PyTorch's allocated memory on unload."""

import json
from pathlib import Path

import torch
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Its configuration has width, depth, precision and the report's path as parameters."""

    def initialize(self, args):
        parameters = {k: v["string_value"] for k, v in json.loads(args["model_config"])["parameters"].items()}
        self.report = Path(parameters["report"])
        width, depth, dtype = int(parameters["width"]), int(parameters["depth"]), getattr(torch, parameters["dtype"])
        self.on_gpu = args["model_instance_kind"] == "GPU"
        self.device = torch.device("cuda" if self.on_gpu else "cpu")
        before = _used_bytes() if self.on_gpu else 0
        torch.manual_seed(0)
        self.layers = [torch.randn(width, width, device=self.device, dtype=dtype) / width**0.5 for _ in range(depth)]
        self.width, self.dtype, self.reserved = width, dtype, {}
        self._forward(torch.zeros(1, 1))  # loads the kernels, which are in the context's memory
        # memory on the GPU outside the allocator: the context with its kernels
        self.context = _used_bytes() - before - torch.cuda.memory_reserved() if self.on_gpu else 0

    def execute(self, requests):
        answers = []
        for request in requests:
            x = torch.from_numpy(pb_utils.get_input_tensor_by_name(request, "X").as_numpy())
            y = self._forward(x).float().cpu().numpy()
            answers.append(pb_utils.InferenceResponse([pb_utils.Tensor("Y", y)]))
            self.reserved[len(x)] = torch.cuda.max_memory_reserved() if self.on_gpu else 0
        return answers

    @torch.inference_mode()
    def _forward(self, x):
        # each item is 512 rows, as of a text of 512 tokens, so that activations take memory too
        rows = x.to(self.device, self.dtype).reshape(-1, 1).repeat_interleave(512, 0).expand(-1, self.width)
        for layer in self.layers:
            rows = torch.relu(rows @ layer)
        return rows.reshape(len(x), -1).mean(1, keepdim=True)

    def finalize(self):
        self.report.write_text(json.dumps({"context": self.context, "reserved": self.reserved}))


def _used_bytes():
    """Return the bytes in use on the GPU, from NVML, which creates no CUDA context."""
    return torch.cuda.device_memory_used(0)
