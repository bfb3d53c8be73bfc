"""Test that a metrics page is found, and that a missing one leaves figures empty."""

from __future__ import annotations

from pathlib import Path

import pytest

from analyzer.devices import Reading
from analyzer.devices.metrics_page import open_page, pages_to_try
from analyzer.errors import UsageError
from analyzer.servers.address import ServerAddress
from tests.builders.metrics_pages import HOST, SECOND, TRITON, serve


def figures(reading: Reading) -> tuple[int | None, float | None]:
    """Return memory and utilization of a reading."""
    return reading.memory_bytes, reading.utilization


def test_page_is_looked_for_in_settings_and_beside_the_port(tmp_path: Path) -> None:
    """The command line of the server with this HTTP port has its metrics port; else 9002 is beside 9000, or 8002."""
    for number, words in enumerate(
        (
            ["/opt/tritonserver/bin/tritonserver", "--http-port=9100", "--metrics-port=9555"],
            ["python3", "--http-port=9000", "--metrics-port=1"],
            ["tritonserver", "--http-port", "9000", "--metrics-port", "7777"],
        )
    ):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "cmdline").write_text("\0".join([*words, ""]))
    (tmp_path / "self").mkdir()
    (tmp_path / "77").mkdir()  # a process that ended meanwhile
    pages = {
        "127.0.0.1:9000": [7777, 9002, 8002],
        "127.0.0.1:8000": [8002],
        "far:9000": [9002, 8002],
        "far:65534": [8002],
    }
    for address, ports in pages.items():
        host = address.partition(":")[0]
        assert pages_to_try(address, tmp_path) == [f"http://{host}:{port}/metrics" for port in ports]


@pytest.mark.parametrize(("page", "status"), [("", 404), ("nv_inference_count 1\n", 200), ("<html>", 200)])
def test_page_without_figures_is_one_line_and_no_error(page: str, status: int) -> None:
    """An answer of 404 and a page without a device once ended the run; now figures are empty, and a line says why."""
    said: list[str] = []
    with serve(page, status=status) as url:
        sampler = open_page(ServerAddress.read("host:8000"), url, say=said.append)
    assert figures(sampler.read()) == (None, None)
    assert sampler.device.name == "host host"
    (line,) = said
    assert line.startswith("measured without memory and utilization: ")
    assert url in line
    assert "\n" not in line


def test_page_that_stops_answering_leaves_figures_empty() -> None:
    """Readings have figures as long as the page answers, and are empty afterwards; a line says so."""
    said: list[str] = []
    with serve(HOST) as url:
        sampler = open_page(ServerAddress.read("host:8000"), url, say=said.append)
        assert figures(sampler.read()) == (500, 0.25)
        assert said == []
    assert figures(sampler.read()) == (None, None)
    assert said[0].startswith("memory and utilization are missing for a while: ")
    sampler.close()


def test_page_of_several_gpus_still_needs_a_name() -> None:
    """Which GPU is meant cannot be guessed: that is still an error."""
    with serve(TRITON + SECOND) as url, pytest.raises(UsageError, match="name one with `gpus`"):
        open_page(ServerAddress.read("host:8000"), url, say=print)
