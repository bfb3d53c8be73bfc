"""A model that keeps the GPU busy for a known share of the time: a kernel of `kernel_ms` in every 10 ms."""

import json
import time
from pathlib import Path

import torch
import triton_python_backend_utils as pb_utils

PERIOD_S = 0.010
CYCLES = 1_000_000  # clock cycles of a kernel in the calibration


class TritonPythonModel:
    """Writes its actual duty cycle to a report on unload; kernel times are from CUDA events."""

    def initialize(self, args):
        parameters = {k: v["string_value"] for k, v in json.loads(args["model_config"])["parameters"].items()}
        self.report, self.kernel_s = Path(parameters["report"]), float(parameters["kernel_ms"]) / 1e3
        self.on_gpu = args["model_instance_kind"] == "GPU"
        self.busy_s, self.due_s, self.first_s, self.last_s = 0.0, 0.0, None, None
        if self.on_gpu:
            self.marks = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
            for _ in range(200):  # until the GPU's clocks have risen
                self.cycles_per_s = CYCLES / self._sleep_s(CYCLES)

    def _sleep_s(self, cycles):
        """Run one kernel that spins for so many cycles; return the seconds that it took on the GPU."""
        self.marks[0].record()
        torch.cuda._sleep(int(cycles))
        self.marks[1].record()
        self.marks[1].synchronize()
        return self.marks[0].elapsed_time(self.marks[1]) / 1e3

    def execute(self, requests):
        answers = []
        for request in requests:
            began_s = time.perf_counter()
            self.first_s = self.first_s or began_s
            if self.on_gpu:
                self.busy_s += self._sleep_s(self.kernel_s * self.cycles_per_s)
            else:
                while time.perf_counter() < began_s + self.kernel_s:
                    pass
                self.busy_s += self.kernel_s
            # each period is due 10 ms after the one before, however long the time between two requests is
            self.due_s = max(self.due_s + PERIOD_S, began_s)
            time.sleep(max(0.0, self.due_s - time.perf_counter()))
            self.last_s = time.perf_counter()
            x = pb_utils.get_input_tensor_by_name(request, "X").as_numpy()
            answers.append(pb_utils.InferenceResponse([pb_utils.Tensor("Y", x)]))
        return answers

    def finalize(self):
        wall_s = self.last_s - self.first_s if self.last_s else 0.0
        self.report.write_text(json.dumps({"duty": self.busy_s / wall_s if wall_s else None}))
