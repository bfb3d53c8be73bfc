"""Image classifier: three strided convolutions and two dense layers; about 40 MiB of weights."""

import os

for library in ("OMP", "OPENBLAS", "MKL"):  # before NumPy loads its BLAS: one thread, so that timings are stable
    os.environ[f"{library}_NUM_THREADS"] = "1"

import numpy as np
import triton_python_backend_utils as pb_utils

CHANNELS = (3, 32, 64, 128)
HIDDEN = 1152
CLASSES = 10


class TritonPythonModel:
    """Weights are drawn from a fixed seed: the same image has the same probabilities everywhere."""

    def initialize(self, args):
        rng = np.random.default_rng(1)
        self.kernels = [_weights(rng, 9 * a, b) for a, b in zip(CHANNELS, CHANNELS[1:])]
        self.hidden = _weights(rng, 8 * 8 * CHANNELS[-1], HIDDEN)
        self.last = _weights(rng, HIDDEN, CLASSES)

    def execute(self, requests):
        images = [pb_utils.get_input_tensor_by_name(request, "IMAGE").as_numpy() for request in requests]
        ends = np.cumsum([len(image) for image in images])[:-1]
        answers = np.split(self._classify(np.concatenate(images)), ends)
        return [
            pb_utils.InferenceResponse([pb_utils.Tensor("PROBABILITIES", answer)]) for answer in answers
        ]

    def _classify(self, images):
        """Return probabilities (n, 10) of images (n, 3, 64, 64)."""
        x = images.transpose(0, 2, 3, 1)
        for kernel in self.kernels:
            x = np.maximum(_convolve(x, kernel), 0)
        x = np.maximum(x.reshape(len(x), -1) @ self.hidden, 0)
        logits = x @ self.last
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)


def _weights(rng, inputs, outputs):
    """Draw weights that keep the variance of what passes through a ReLU (He et al. 2015)."""
    weights = rng.standard_normal((inputs, outputs), dtype=np.float32)
    weights *= np.float32(np.sqrt(2 / inputs))
    return weights


def _convolve(x, kernel):
    """Convolve (n, h, w, c) by 3 x 3 kernels (9 c, k) at stride 2: every window as a row, one matrix product."""
    n, h, w, c = x.shape
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))[:, ::2, ::2]
    rows = windows.transpose(0, 1, 2, 4, 5, 3).reshape(n * (h // 2) * (w // 2), 9 * c)
    return (rows @ kernel).reshape(n, h // 2, w // 2, -1)
