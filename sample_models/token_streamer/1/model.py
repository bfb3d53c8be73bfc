"""Token streamer: a small recurrent language model that answers token by token, each at a known time."""

import os

for library in ("OMP", "OPENBLAS", "MKL"):  # before NumPy loads its BLAS: one thread, so that timings are stable
    os.environ[f"{library}_NUM_THREADS"] = "1"

import heapq
import json
import threading
import time

import numpy as np
import triton_python_backend_utils as pb_utils

VOCABULARY = 4096
WIDTH = 256
TOKENS = 16  # that a request gets if it does not say how many
LEAST_WAIT_S = 0.0005  # a thread that sleeps wakes up about this late


class TritonPythonModel:
    """Weights are drawn from a fixed seed: the same prompt is continued by the same tokens everywhere.

    Token i of a request is due `first_ms` + i * `gap_ms` after its start, and is computed before that. One thread
    serves all requests, the token that is due first before the others, as a language model's scheduler does.
    """

    def initialize(self, args):
        rng = np.random.default_rng(4)
        self.embedding = _weights(rng, VOCABULARY, WIDTH, scale=1.0)
        self.recurrent = _weights(rng, WIDTH, WIDTH)
        self.readout = _weights(rng, WIDTH, VOCABULARY)
        parameters = json.loads(args["model_config"]).get("parameters", {})
        self.first_s, self.gap_s = (
            float(parameters[name]["string_value"]) / 1e3 for name in ("first_ms", "gap_ms")
        )
        self.due = []  # a heap of (time, number of the stream, stream)
        self.streams = 0
        self.stopped = False
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def execute(self, requests):
        began_s = time.perf_counter()
        for request in requests:
            prompt = pb_utils.get_input_tensor_by_name(request, "input_ids").as_numpy().ravel() % VOCABULARY
            asked = pb_utils.get_input_tensor_by_name(request, "max_tokens")
            tokens = TOKENS if asked is None else int(asked.as_numpy().ravel()[0])
            stream = _Stream(request.get_response_sender(), len(prompt), max(1, tokens), self._read(prompt))
            with self.changed:
                self.streams += 1
                heapq.heappush(self.due, (began_s + self.first_s, self.streams, stream))
                self.changed.notify()
        return None

    def finalize(self):
        with self.changed:
            self.stopped = True
            self.changed.notify()
        self.thread.join()

    def _serve(self):
        """Send every token when it is due, until the model is unloaded and no stream is left."""
        while True:
            with self.changed:
                while not self.due and not self.stopped:
                    self.changed.wait()
                if not self.due:
                    return
                due_s, number, stream = self.due[0]
                if stream.next_token is not None and (wait_s := due_s - time.perf_counter()) > LEAST_WAIT_S:
                    self.changed.wait(wait_s - LEAST_WAIT_S / 2)
                    continue
                heapq.heappop(self.due)
            again_s = due_s
            if stream.next_token is None:
                stream.next_token = self._step(stream)
            else:
                again_s = self._send(stream, due_s)
            if again_s is not None:
                with self.changed:
                    heapq.heappush(self.due, (again_s, number, stream))

    def _send(self, stream, due_s):
        """Send a stream's token; return when its next one is due, None after the last."""
        while time.perf_counter() < due_s:
            time.sleep(0)
        stream.left -= 1
        ended = stream.left == 0
        outputs = [
            pb_utils.Tensor("token_id", np.array([stream.next_token], np.int32)),
            pb_utils.Tensor("num_input_tokens", np.array([stream.prompt_tokens], np.uint32)),
            pb_utils.Tensor("num_output_tokens", np.array([1], np.uint32)),
        ]
        flags = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL if ended else 0
        stream.sender.send(pb_utils.InferenceResponse(outputs), flags=flags)
        stream.next_token = None
        return None if ended else due_s + self.gap_s

    def _read(self, prompt):
        """Return the state (256,) after a prompt: its tokens count the less the earlier they came."""
        ages = np.arange(len(prompt), dtype=np.float32)[::-1]
        return np.tanh((self.embedding[prompt] * np.exp(-ages / 16)[:, None]).sum(axis=0) @ self.recurrent)

    def _step(self, stream):
        """Compute a stream's next token, and its state with it."""
        token = int(np.argmax(stream.state @ self.readout))
        stream.state = np.tanh(stream.state @ self.recurrent + self.embedding[token])
        return token


class _Stream:
    """A request that is being answered."""

    def __init__(self, sender, prompt_tokens, left, state):
        self.sender = sender
        self.prompt_tokens = prompt_tokens
        self.left = left  # tokens that are still to be sent
        self.state = state
        self.next_token = None  # computed, and not sent yet


def _weights(rng, inputs, outputs, scale=None):
    weights = rng.standard_normal((inputs, outputs), dtype=np.float32)
    weights *= np.float32(1 / np.sqrt(inputs) if scale is None else scale)
    return weights
