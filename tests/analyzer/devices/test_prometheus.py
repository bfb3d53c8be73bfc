"""Test the sampler of Prometheus metrics pages, served over real HTTP."""

from __future__ import annotations

import pytest

from analyzer.devices.prometheus import PrometheusSampler, Sample, parse
from analyzer.errors import DeviceError, UsageError
from tests.builders.metrics_pages import DCGM, HOST, SECOND, TRITON, serve

MIB = 2**20


def test_parse_reads_the_text_format():
    """Labels with every escape, special values and time stamps are read; comments and malformed lines are skipped."""
    page = '# HELP x y\nx 1\ny{a="b",c="q\\"u\\\\o\\nte }"} -2.5e3 1395066363000\nz +Inf\n\nnonsense\nbad value\n'
    assert parse(page) == [
        Sample(name="x", labels={}, value=1.0),
        Sample(name="y", labels={"a": "b", "c": 'q"u\\o\nte }'}, value=-2500.0),
        Sample(name="z", labels={}, value=float("inf")),
    ]


def test_triton_figures_of_a_gpu():
    """Triton's bytes, fractions and watts are read as they are; what Triton does not publish is None."""
    with serve(TRITON) as url:
        sampler = PrometheusSampler(url)
        reading = sampler.read()
    assert (sampler.device.uuid, sampler.device.memory_bytes) == ("GPU-a", 15 * 2**30)
    assert (reading.memory_bytes, reading.utilization, reading.power_w) == (MIB, 0.45, 71.5)
    assert (reading.memory_utilization, reading.sm_utilization, reading.sm_clock_hz) == (None, None, None)


def test_dcgm_figures_are_added_to_those_of_triton():
    """Used and total memory are Triton's, which are newer than DCGM's: 1 of 15360 MiB."""
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


def test_host_without_a_gpu_is_the_device():
    """Without a GPU on the page, the figures are the host's processors and memory."""
    with serve(HOST) as url:
        sampler = PrometheusSampler(url)
        reading = sampler.read()
    assert (sampler.device.name, sampler.device.uuid) == ("host 127.0.0.1", "127.0.0.1")
    assert (reading.memory_bytes, reading.utilization) == (500, 0.25)


def test_one_of_several_gpus_must_be_named():
    """Without a name the error lists the GPUs; with a name only that GPU is read."""
    with serve(TRITON + SECOND) as url:
        with pytest.raises(UsageError, match="shows 2 GPUs; name one with `gpus`: GPU-a, GPU-b"):
            PrometheusSampler(url)
        with pytest.raises(UsageError, match=r"'GPU-c' is not shown by .*; shown: GPU-a, GPU-b"):
            PrometheusSampler(url, gpu="GPU-c")
        with pytest.raises(UsageError, match="fits several"):
            PrometheusSampler(url, gpu="GPU-")
        assert PrometheusSampler(url, gpu="GPU-b").read().memory_bytes == 5


def test_page_without_a_device_is_an_error():
    """Refused are a page without device metrics, an answer of 404, and an address that is not HTTP."""
    with serve("nv_inference_count 1\n") as url, pytest.raises(DeviceError, match="--allow-cpu-metrics=true"):
        PrometheusSampler(url)
    with serve("", status=404) as url, pytest.raises(DeviceError, match="answers 404"):
        PrometheusSampler(url)
    with pytest.raises(UsageError, match="not an http address"):
        PrometheusSampler("file:///etc/passwd")


def test_server_that_ended_is_an_error():
    """After the server has ended, reading raises a DeviceError that names the page."""
    with serve(HOST) as url:
        sampler = PrometheusSampler(url)
    with pytest.raises(DeviceError, match=url):
        sampler.read()


def test_slices_of_one_gpu_have_names_of_their_own():
    """A MIG slice is named by its GPU and the exporter's GPU instance id."""
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


def test_zeros_before_the_first_interval_are_skipped():
    """Triton shows 0 bytes of memory until its first interval is over; the sampler waits for real figures."""
    with serve(HOST.replace("1000", "0").replace("500", "0"), HOST) as url:
        assert PrometheusSampler(url).device.memory_bytes == 1000
