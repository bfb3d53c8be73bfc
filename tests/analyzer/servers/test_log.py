"""Test the cause of a server's end, read from its log and its exit status."""

from __future__ import annotations

from analyzer.servers.log import exit_cause, last_error

LOG = """W1120 11:25:41.036825 17660 pinned_memory_manager.cc:273] "Unable to allocate pinned system memory"
E1120 11:25:41.037312 17660 server.cc:241] "CudaDriverHelper has not been initialized."
I1120 11:25:41.440984 17660 grpc_server.cc:2558] "Started GRPCInferenceService at 127.0.0.1:37253"
a model's own words
"""


def test_last_error_is_the_latest_error_line_of_the_log() -> None:
    """Warnings, information and models' output are ignored; the message is returned without prefix and quotes."""
    assert last_error(LOG) == "CudaDriverHelper has not been initialized."
    assert last_error("tritonserver: unrecognized option '--x'\nUsage: tritonserver [options]\nDefault is 0.\n") == (
        "tritonserver: unrecognized option '--x'"
    )
    assert last_error("a model's own words\n") is None
    assert last_error("") is None


def test_exit_cause_names_status_or_signal() -> None:
    """Status 137 is 128 + 9, SIGKILL; status 1 is named with the last error of the log."""
    assert exit_cause(137, "") == "tritonserver was ended by SIGKILL"
    assert exit_cause(1, LOG).startswith("tritonserver ended with exit status 1; the last error of its log: Cuda")
