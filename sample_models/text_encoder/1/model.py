"""Text encoder: embeddings and a transformer over any number of tokens; about 250 MiB of weights."""

import os

for library in ("OMP", "OPENBLAS", "MKL"):  # before NumPy loads its BLAS: one thread, so that timings are stable
    os.environ[f"{library}_NUM_THREADS"] = "1"

import numpy as np
import triton_python_backend_utils as pb_utils

VOCABULARY = 100_000
WIDTH = 512
HEADS = 8
LAYERS = 4


class TritonPythonModel:
    """Weights are drawn from a fixed seed: the same tokens have the same embedding everywhere."""

    def initialize(self, args):
        rng = np.random.default_rng(3)
        self.embedding = _weights(rng, VOCABULARY, WIDTH, scale=1.0)
        self.layers = [
            {
                "attend": _weights(rng, WIDTH, 3 * WIDTH),
                "join": _weights(rng, WIDTH, WIDTH),
                "widen": _weights(rng, WIDTH, 4 * WIDTH),
                "narrow": _weights(rng, 4 * WIDTH, WIDTH),
            }
            for _ in range(LAYERS)
        ]

    def execute(self, requests):
        # Requests that Triton joined may differ in length, so each is encoded on its own.
        answers = []
        for request in requests:
            tokens = pb_utils.get_input_tensor_by_name(request, "TOKENS").as_numpy()
            answers.append(pb_utils.InferenceResponse([pb_utils.Tensor("EMBEDDING", self._encode(tokens))]))
        return answers

    def _encode(self, tokens):
        """Return unit vectors (n, 512) for token numbers (n, length); numbers wrap around the vocabulary."""
        x = self.embedding[tokens % VOCABULARY] + _positions(tokens.shape[1])
        for layer in self.layers:
            x = x + _attention(_normalized(x), layer)
            wide = _normalized(x) @ layer["widen"]
            gelu = 0.5 * wide * (1 + np.tanh(0.7978845608 * (wide + 0.044715 * wide**3)))
            x = x + gelu @ layer["narrow"]
        mean = _normalized(x).mean(axis=1)
        return (mean / np.linalg.norm(mean, axis=1, keepdims=True)).astype(np.float32)


def _weights(rng, inputs, outputs, scale=None):
    weights = rng.standard_normal((inputs, outputs), dtype=np.float32)
    weights *= np.float32(1 / np.sqrt(inputs) if scale is None else scale)
    return weights


def _positions(length):
    """Sines and cosines of each place, (length, 512), as in Vaswani et al. 2017."""
    angles = np.arange(length)[:, None] / 10_000 ** (np.arange(0, WIDTH, 2) / WIDTH)
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)


def _normalized(x):
    return (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1, keepdims=True) + np.float32(1e-5))


def _attention(x, layer):
    n, length, _ = x.shape
    parts = (x @ layer["attend"]).reshape(n, length, 3, HEADS, WIDTH // HEADS).transpose(2, 0, 3, 1, 4)
    query, key, value = parts
    scores = query @ key.swapaxes(-1, -2) / np.float32(np.sqrt(WIDTH // HEADS))
    odds = np.exp(scores - scores.max(axis=-1, keepdims=True))
    seen = (odds / odds.sum(axis=-1, keepdims=True)) @ value
    return seen.transpose(0, 2, 1, 3).reshape(n, length, WIDTH) @ layer["join"]
