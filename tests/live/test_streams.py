"""Test the figures of streams on a real Triton, against models whose responses are due at known times."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from analyzer import measure
from analyzer.errors import UsageError
from analyzer.measurements.record import Measurement
from tests.builders.model_repositories import write_model

FIRST_S, GAP_S = 0.1, 0.01  # what sample_models/token_streamer is configured for
WITHIN = 0.02
ATTEMPTS = 3  # of a machine that also runs other tests
STREAM_OF_TEXTS = """import time

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        for request in requests:
            sender = request.get_response_sender()
            for _ in range(4):
                time.sleep(0.02)
                sender.send(pb_utils.InferenceResponse([pb_utils.Tensor("Y", np.ones((1, 2), np.float32))]))
            sender.send(pb_utils.InferenceResponse([]))
            sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
"""

pytestmark = pytest.mark.usefixtures("local_server")


def off(measurement: Measurement, expected: dict[str, float]) -> dict[str, float]:
    """Return by how much the figures of streams differ from what is expected, those that do so by more than 2 %."""
    found = {name: (getattr(measurement.stream, name) or 0.0) / value - 1 for name, value in expected.items()}
    return {name: error for name, error in found.items() if abs(error) > WITHIN}


def settle_on(expected: dict[str, float], attempt: Callable[[], Measurement]) -> Measurement:
    """Measure until the figures are as expected, and at most `ATTEMPTS` times."""
    for _ in range(ATTEMPTS):
        measurement = attempt()
        errors = off(measurement, expected)
        if not errors:
            return measurement
    raise AssertionError(f"{errors} beyond 2 %: {measurement.status}, {measurement.cause}, {measurement.stream}")


def test_figures_of_a_closed_loop_are_those_of_the_models_schedule(tmp_path: Path) -> None:
    """TTFT, gaps and ITL are within 2 % of 100 ms and 10 ms, and prompts and answers have the lengths asked for."""

    def attempt() -> Measurement:
        (found,) = measure(
            model_names=["token_streamer"], concurrencies=8, input_lengths=24, output_lengths=12, max_trial_s=4,
            launch_mode="local", output=tmp_path, fresh=True,
        )  # fmt: skip
        return found

    found = settle_on(
        {
            "first_response_p50_s": FIRST_S,
            "response_gap_p50_s": GAP_S,
            "itl_avg_s": GAP_S,
            "itl_p50_s": GAP_S,
            "input_tokens_avg": 24,
            "output_tokens_avg": 12,
        },
        attempt,
    )
    assert (found.trial.input_length, found.trial.output_length, found.trial.transport) == (24, 12, "grpc")
    assert found.latency_p50_s == pytest.approx(FIRST_S + 11 * GAP_S, rel=WITHIN)
    assert found.stream.responses_per_s == found.stream.output_tokens_per_s
    assert not found.memory_is_reservation


def test_figures_of_an_open_loop_are_those_of_its_rate(tmp_path: Path) -> None:
    """30 requests/s for 8 tokens each give 240 tokens/s, to 2 %, with the times of the schedule."""

    def attempt() -> Measurement:
        (found,) = measure(
            model_names=["token_streamer"], request_rates_per_s=30, arrivals="constant", output_lengths=8,
            max_trial_s=4, launch_mode="local", output=tmp_path, fresh=True,
        )  # fmt: skip
        return found

    expected = {"output_tokens_per_s": 240.0, "responses_per_s": 240.0, "itl_avg_s": GAP_S, "output_tokens_avg": 8.0}
    found = settle_on(expected | {"first_response_p50_s": FIRST_S}, attempt)
    assert (found.trial.input_length, found.stream.input_tokens_avg) == (None, 32)  # the model's typical prompt


def test_a_model_without_token_counts_has_responses_and_no_tokens(tmp_path: Path) -> None:
    """Four responses 20 ms apart and an empty one are four responses; nothing is said in tokens."""
    write_model(tmp_path / "models", "texts").write_text(STREAM_OF_TEXTS)
    config = tmp_path / "models" / "texts" / "config.pbtxt"
    config.write_text(config.read_text() + "model_transaction_policy { decoupled: true }")
    (found,) = measure(tmp_path / "models", max_trial_s=3, launch_mode="local", output=tmp_path)
    assert found.stream.responses_per_s == pytest.approx(4 * (found.throughput_infer_per_s or 0.0))
    assert found.stream.first_response_p50_s == pytest.approx(0.02, rel=0.1)
    assert found.stream.response_gap_p50_s == pytest.approx(0.02, rel=0.1)
    assert (found.stream.output_tokens_per_s, found.stream.itl_avg_s, found.stream.input_tokens_avg) == (None,) * 3


def test_lengths_for_a_model_that_has_no_prompt_are_an_error_before_anything_starts(tmp_path: Path) -> None:
    """The message names the model, and how to name its input or to leave it out."""
    with pytest.raises(UsageError, match=r"segmenter has no input for a prompt .* `prompt_input`, or .* `model_names`"):
        measure(model_names=["segmenter"], input_lengths=8, output=tmp_path)
