"""Test every sampler against the shared contract, and the choice of devices."""

from __future__ import annotations

import pytest

from analyzer.devices.choose import choose_devices
from analyzer.devices.process import ProcessSampler
from analyzer.devices.prometheus import PrometheusSampler
from analyzer.errors import DeviceError, UsageError
from analyzer.servers import Endpoint
from tests.builders.metrics_pages import DCGM, TRITON, serve
from tests.builders.process_tree import tree
from tests.builders.sampler_contract import check_sampler
from tests.fakes import nvml


def test_process_sampler_keeps_the_contract():
    """The contract holds for a real process with a real child."""
    with tree() as parent:
        parent.do("child('')")
        check_sampler(ProcessSampler(parent.pid))


@pytest.mark.parametrize("uuid", ["GPU-whole", "GPU-bare", "MIG-part"])
def test_nvml_sampler_keeps_the_contract(nvml_library, tmp_path, uuid):
    """The contract holds for a GPU that reports every figure, for one that reports only memory, and for a MIG slice."""
    nvml.write_state(
        tmp_path / "gpu0.state", "process 1 10", "gpu_sample 1000 40", "memory_sample 1000 4",
        name="Fake H100", uuid="GPU-whole", memory_total_mib=81920, memory_reserved_mib=600, memory_used_mib=10,
        utilization_pct=40, memory_utilization_pct=4, power_w=300, sm_clock_mhz=1980, throttle_reasons="0x1",
        gpm=1, gpm_graphics_pct=100, gpm_sm_pct=100.01, gpm_tensor_pct=0, gpm_dram_pct=3,
    )  # fmt: skip
    nvml.write_state(tmp_path / "gpu1.state", name="Bare", uuid="GPU-bare", memory_total_mib=8192)
    nvml.write_state(tmp_path / "gpu2.state", name="Cut", uuid="GPU-cut", memory_total_mib=40960, mig_mode=1)
    nvml.write_state(
        tmp_path / "gpu2.mig0.state", name="Cut MIG 1g.5gb", uuid="MIG-part", gpu_instance_id=7, memory_total_mib=4864
    )
    code = f"""
from analyzer.devices.nvml import NvmlSampler
from tests.builders.sampler_contract import check_sampler
check_sampler(NvmlSampler({uuid!r}, processes=lambda: {{1}}), period_s=0.11)
"""
    done = nvml.run_python(code, library=nvml_library, state=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def triton(local_server, tmp_path):
    """Serve with a real Triton, without models."""
    (tmp_path / "repository").mkdir()
    with local_server.serve(tmp_path / "repository") as server:
        yield server


def test_prometheus_sampler_keeps_the_contract_on_a_real_triton(triton):
    """On a host without a GPU, Triton's metrics page shows the host's memory."""
    sampler = PrometheusSampler(triton.endpoint.metrics_url)
    assert sampler.device.memory_bytes > 2**28
    check_sampler(sampler, readings=2, period_s=0.1)


def test_process_sampler_keeps_the_contract_on_a_real_triton(triton):
    """The contract holds for a real Triton; without models it holds between 10 MiB and 1 GiB."""
    readings = check_sampler(ProcessSampler(triton.endpoint.process_id))
    assert 10 * 2**20 < readings[-1].memory_bytes < 2**30


def test_devices_are_chosen_and_opened(triton, nvml_library, tmp_path):
    """Chosen are the host if it has no GPU, a remote server's metrics page, all equal GPUs, or the named GPU."""
    (host,) = choose_devices()
    assert host.gpu is None and host.uuids == () and "no NVIDIA driver" in host.describe()
    assert isinstance(host.open_sampler(triton.endpoint), ProcessSampler)
    (elsewhere,) = choose_devices(remote=True)
    assert elsewhere.open_sampler(triton.endpoint).device.memory_bytes > 2**28
    for index in (0, 1):
        nvml.write_state(
            tmp_path / f"gpu{index}.state", name="T4", uuid=f"GPU-{index}", memory_total_mib=16384, memory_used_mib=9
        )
    code = """
from analyzer.devices.choose import choose_devices
from analyzer.servers import Endpoint
import os
endpoint = Endpoint(http="127.0.0.1:1", grpc=None, metrics_url=None, process_id=os.getpid(), server="")
assert [(device.uuids, device.alike) for device in choose_devices()] == [
    (("GPU-0",), ("GPU-1",)), (("GPU-1",), ("GPU-0",))
]
(device,) = choose_devices(["1"])
assert device.uuids == ("GPU-1",) and device.describe() == "T4, GPU-1"
assert device.open_sampler(endpoint).read().memory_bytes == 9 * 2**20
"""
    done = nvml.run_python(code, library=nvml_library, state=tmp_path)
    assert done.returncode == 0, done.stderr


def test_devices_that_cannot_be_used_are_errors():
    """Refused are an absent GPU, two GPUs for one server, and a server without a process id."""
    with pytest.raises(UsageError, match=r"GPU '7' is not on this host; present: no NVIDIA driver"):
        choose_devices(["7"])
    with pytest.raises(UsageError, match="2 GPUs are named"):
        choose_devices(["0", "1"], remote=True)
    unknown = Endpoint(http="host:8000", grpc=None, metrics_url=None, process_id=None, server="")
    with pytest.raises(DeviceError, match="launch_mode='remote'"):
        choose_devices()[0].open_sampler(unknown)


def test_dcgm_exporter_of_a_remote_device_is_read():
    """The DCGM exporter's figures are added to those of Triton."""
    with serve(TRITON) as url, serve(DCGM) as dcgm_url:
        remote = Endpoint(http="host:8000", grpc=None, metrics_url=url, process_id=None, server="")
        (device,) = choose_devices(["GPU-a"], remote=True, dcgm_url=dcgm_url)
        readings = check_sampler(device.open_sampler(remote), readings=1, period_s=0.01)
    assert readings[0].dram_bandwidth_utilization == 0.125
