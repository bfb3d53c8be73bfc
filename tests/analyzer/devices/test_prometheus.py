"""Pages of metrics over real HTTP."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from analyzer.devices.prometheus import PrometheusSampler, Sample, parse
from analyzer.errors import DeviceError, UsageError

MIB = 2**20

TRITON = """\
# HELP nv_gpu_utilization GPU utilization rate [0.0 - 1.0)
# TYPE nv_gpu_utilization gauge
nv_gpu_utilization{gpu_uuid="GPU-a"} 0.450000
nv_gpu_memory_total_bytes{gpu_uuid="GPU-a"} 16106127360.000000
nv_gpu_memory_used_bytes{gpu_uuid="GPU-a"} 1048576.000000
nv_gpu_power_usage{gpu_uuid="GPU-a"} 71.5
nv_cpu_utilization 0.9
nv_cpu_memory_total_bytes 1000
nv_cpu_memory_used_bytes 500
nv_inference_count{model="a",version="1"} 7
"""
SECOND = 'nv_gpu_memory_used_bytes{gpu_uuid="GPU-b"} 5.000000\nnv_gpu_memory_total_bytes{gpu_uuid="GPU-b"} 9\n'
HOST = "nv_cpu_utilization 0.25\nnv_cpu_memory_total_bytes 1000\nnv_cpu_memory_used_bytes 500\n"
DCGM_LABELS = '{gpu="0",UUID="GPU-a",modelName="Tesla T4",DCGM_FI_DRIVER_VERSION="550.54"}'
DCGM = "\n".join(
    f"{name}{DCGM_LABELS} {value}"
    for name, value in {
        "DCGM_FI_DEV_FB_USED": 2, "DCGM_FI_DEV_FB_FREE": 15000, "DCGM_FI_DEV_FB_RESERVED": 400,
        "DCGM_FI_DEV_MEM_COPY_UTIL": 30, "DCGM_FI_PROF_SM_ACTIVE": 0.5, "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE": 0.25,
        "DCGM_FI_PROF_DRAM_ACTIVE": 0.125, "DCGM_FI_DEV_SM_CLOCK": 1590,
    }.items()
)  # fmt: skip


@contextmanager
def serve(*contents: str, status: int = 200) -> Iterator[str]:
    """A page of metrics on a loopback port; with several contents each is shown once, the last for good."""
    pages = list(contents)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.end_headers()
            self.wfile.write(pages.pop(0).encode() if len(pages) > 1 else pages[0].encode())

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/metrics"
        server.shutdown()


def test_parse_reads_the_text_format():
    """Labels with every escape, special values, time stamps; comments and nonsense are skipped."""
    page = '# HELP x y\nx 1\ny{a="b",c="q\\"u\\\\o\\nte }"} -2.5e3 1395066363000\nz +Inf\n\nnonsense\nbad value\n'
    assert parse(page) == [
        Sample(name="x", labels={}, value=1.0),
        Sample(name="y", labels={"a": "b", "c": 'q"u\\o\nte }'}, value=-2500.0),
        Sample(name="z", labels={}, value=float("inf")),
    ]


def test_triton_figures_of_a_gpu():
    """Bytes, fractions and watts as Triton publishes them; what it does not publish is None."""
    with serve(TRITON) as url:
        sampler = PrometheusSampler(url)
        reading = sampler.read()
    assert (sampler.device.uuid, sampler.device.memory_bytes) == ("GPU-a", 15 * 2**30)
    assert (reading.memory_bytes, reading.utilization, reading.power_w) == (MIB, 0.45, 71.5)
    assert (reading.memory_utilization, reading.sm_utilization, reading.sm_clock_hz) == (None, None, None)


def test_dcgm_figures_join_those_of_triton():
    """Triton's memory is fresher and goes first, used and total alike: 1 of 15360 MiB."""
    with serve(TRITON) as url, serve(DCGM) as dcgm_url:
        sampler = PrometheusSampler(url, dcgm_url=dcgm_url)
        reading = sampler.read()
    assert (sampler.device.name, sampler.device.driver) == ("Tesla T4", "550.54")
    assert sampler.device.memory_bytes == 15360 * MIB
    assert (reading.memory_bytes, reading.utilization, reading.memory_utilization) == (1 * MIB, 0.45, 0.3)
    assert reading.sm_utilization == 0.5
    assert reading.tensor_utilization == 0.25
    assert reading.dram_bandwidth_utilization == 0.125
    assert reading.sm_clock_hz == 1.59e9


def test_a_host_without_gpu_shows_itself():
    """Processor and memory figures are the host's."""
    with serve(HOST) as url:
        sampler = PrometheusSampler(url)
        reading = sampler.read()
    assert (sampler.device.name, sampler.device.uuid) == ("host 127.0.0.1", "127.0.0.1")
    assert (reading.memory_bytes, reading.utilization) == (500, 0.25)


def test_one_of_several_gpus_is_to_be_named():
    """Without a name the message lists them; with one only its figures are read."""
    with serve(TRITON + SECOND) as url:
        with pytest.raises(UsageError, match="shows 2 GPUs; name one with `gpus`: GPU-a, GPU-b"):
            PrometheusSampler(url)
        with pytest.raises(UsageError, match=r"'GPU-c' is not shown by .*; shown: GPU-a, GPU-b"):
            PrometheusSampler(url, gpu="GPU-c")
        with pytest.raises(UsageError, match="means several"):
            PrometheusSampler(url, gpu="GPU-")
        assert PrometheusSampler(url, gpu="GPU-b").read().memory_bytes == 5


def test_a_page_without_a_device_is_told():
    """A Triton with its device metrics off, and a page that is no page."""
    with serve("nv_inference_count 1\n") as url, pytest.raises(DeviceError, match="--allow-cpu-metrics=true"):
        PrometheusSampler(url)
    with serve("", status=404) as url, pytest.raises(DeviceError, match="answers 404"):
        PrometheusSampler(url)
    with pytest.raises(UsageError, match="not an http address"):
        PrometheusSampler("file:///etc/passwd")


def test_a_server_that_went_away_is_told():
    """After its end a reading is a DeviceError that names the page."""
    with serve(HOST) as url:
        sampler = PrometheusSampler(url)
    with pytest.raises(DeviceError, match=url):
        sampler.read()


def test_slices_of_one_gpu_are_told_apart():
    """The exporter numbers them by GPU instance."""
    page = "\n".join(
        f'DCGM_FI_DEV_FB_USED{{UUID="GPU-a",GPU_I_ID="{part}"}} {part}\nDCGM_FI_DEV_FB_FREE{{UUID="GPU-a",'
        f'GPU_I_ID="{part}"}} 100'
        for part in (1, 2)
    )
    with serve(page) as url:
        with pytest.raises(UsageError, match="GPU-a/1, GPU-a/2"):
            PrometheusSampler(url)
        sampler = PrometheusSampler(url, gpu="GPU-a/2")
        assert (sampler.read().memory_bytes, sampler.device.memory_bytes) == (2 * MIB, 102 * MIB)


def test_zeros_before_the_first_measurement_are_waited_for():
    """Triton shows 0 bytes of memory until its first interval is over: that is no figure of the host."""
    with serve(HOST.replace("1000", "0").replace("500", "0"), HOST) as url:
        assert PrometheusSampler(url).device.memory_bytes == 1000
