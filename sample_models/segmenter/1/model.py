"""Segmenter: a small U-Net over 128 x 128 images; few weights, but memory that grows with the batch."""

import os

for library in ("OMP", "OPENBLAS", "MKL"):  # before NumPy loads its BLAS: one thread, so that timings are stable
    os.environ[f"{library}_NUM_THREADS"] = "1"

import numpy as np
import triton_python_backend_utils as pb_utils

CHANNELS = (8, 16, 32)  # at full, half and quarter resolution
CLASSES = 4


class TritonPythonModel:
    """Weights are drawn from a fixed seed: the same image has the same mask everywhere."""

    def initialize(self, args):
        rng = np.random.default_rng(2)
        inputs = (1, *CHANNELS)
        self.down = [(_weights(rng, a, b), _weights(rng, b, b)) for a, b in zip(inputs, CHANNELS)]
        self.up = [_weights(rng, a + b, a) for a, b in zip(CHANNELS, CHANNELS[1:])]
        self.last = rng.standard_normal((CHANNELS[0], CLASSES), dtype=np.float32)

    def execute(self, requests):
        images = [pb_utils.get_input_tensor_by_name(request, "IMAGE").as_numpy() for request in requests]
        ends = np.cumsum([len(image) for image in images])[:-1]
        masks = np.split(self._segment(np.concatenate(images)), ends)
        return [pb_utils.InferenceResponse([pb_utils.Tensor("MASK", mask)]) for mask in masks]

    def _segment(self, images):
        """Return the class of every pixel (n, 128, 128) of images (n, 1, 128, 128)."""
        x = images.transpose(0, 2, 3, 1)
        seen = []
        for first, second in self.down:
            if seen:  # halve the resolution: the highest of each 2 x 2
                n, h, w, c = x.shape
                x = x.reshape(n, h // 2, 2, w // 2, 2, c).max(axis=(2, 4))
            x = _convolve(_convolve(x, first), second)
            seen.append(x)
        seen.pop()
        for kernel in reversed(self.up):
            x = x.repeat(2, axis=1).repeat(2, axis=2)
            x = _convolve(np.concatenate([seen.pop(), x], axis=3), kernel)
        return (x @ self.last).argmax(axis=3).astype(np.uint8)


def _weights(rng, inputs, outputs):
    """Draw 3 x 3 kernels that keep the variance of what passes through a ReLU (He et al. 2015)."""
    weights = rng.standard_normal((9 * inputs, outputs), dtype=np.float32)
    weights *= np.float32(np.sqrt(2 / (9 * inputs)))
    return weights


def _convolve(x, kernel):
    """Convolve (n, h, w, c) by 3 x 3 kernels (9 c, k), then ReLU: every window as a row, one matrix product."""
    n, h, w, c = x.shape
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    rows = np.empty((n, h, w, 9, c), np.float32)
    for place in range(9):
        top, left = divmod(place, 3)
        rows[:, :, :, place] = padded[:, top : top + h, left : left + w]
    out = rows.reshape(n * h * w, 9 * c) @ kernel
    return np.maximum(out, 0, out=out).reshape(n, h, w, -1)
