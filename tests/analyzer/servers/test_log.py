"""Test the cause of a server's end, read from its log and its exit status."""

from __future__ import annotations

from pathlib import Path

from analyzer.servers.log import READ_BYTES, exit_cause, last_error, read_end

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


def test_failed_load_is_not_why_a_server_ended() -> None:
    """A model that had failed to load for want of memory once made every later end of its server one, too."""
    load = """E1120 11:25:41.500000 17660 model_lifecycle.cc:654] "failed to load 'm' version 1: MemoryError"\n"""
    load += """E1120 11:25:41.600000 17660 backend_model.cc:692] "ERROR: Failed to create instance: MemoryError"\n"""
    assert exit_cause(137, load) == "tritonserver was ended by SIGKILL"
    assert last_error(LOG + load) == "CudaDriverHelper has not been initialized."


def test_only_the_end_of_a_log_is_read(tmp_path: Path) -> None:
    """Of a log of 1 GB its last part is read, of a short one what follows `since`, of a cut one what is left."""
    log = tmp_path / "log"
    log.write_bytes(b"began\nended\n")
    assert read_end(log, since=6) == "ended\n"
    assert read_end(log, since=100) == ""
    with log.open("r+b") as file:
        file.seek(10**9)
        file.write(b"ended\n")
    assert len(read_end(log, since=6)) == READ_BYTES
    assert read_end(log).endswith("ended\n")
