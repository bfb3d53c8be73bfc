"""Where profiles come from."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from analyzer.errors import StoreError, TritonpackError, UsageError
from analyzer.measurements import STORE_FILE
from analyzer.measurements.csv_file import write_measurements_csv, write_server_only_csv
from analyzer.measurements.record import ServerOnly
from analyzer.measurements.store import Store
from planner.inputs.profile_source import read_profiles
from tests.builders.profiles import MIB, measurement, provenance

IDLE = ServerOnly(provenance=provenance(), memory_bytes=209 * MIB, max_utilization=None, max_memory_utilization=None)


def test_store_in_a_folder_and_by_url_give_the_same(tmp_path: Path) -> None:
    """An output folder holds the store; a URL names it."""
    with Store.open(tmp_path / STORE_FILE) as store:
        store.append(measurement("chest"))
        store.append(measurement("liver"))
        store.append_server_only(IDLE)
    found = read_profiles(str(tmp_path))
    assert [p.model for p in found] == ["chest", "liver"]
    assert found[0].device_memory_bytes == 15000 * MIB
    assert read_profiles(f"sqlite:///{tmp_path / STORE_FILE}") == found


def test_csv_takes_the_server_only_file_beside_it(tmp_path: Path) -> None:
    """1309 MiB with an idle server of 209 MiB are 1100 MiB of the model; without the file the option is asked for."""
    path = tmp_path / "metrics-model.csv"
    write_measurements_csv(path, [measurement(server_memory_mib=None)])
    with pytest.raises(UsageError, match="`server_memory_mib=309`"):
        read_profiles(str(path))
    assert read_profiles(str(path), server_memory_mib=309)[0].points[0].memory_bytes == 1000 * MIB
    write_server_only_csv(tmp_path / "metrics-server-only.csv", [IDLE])
    for source in (path, tmp_path):
        assert read_profiles(str(source))[0].points[0].memory_bytes == 1100 * MIB


def test_nothing_to_read_is_said(tmp_path: Path) -> None:
    """No such path, no measurements in the folder, no store at the URL."""
    with pytest.raises(UsageError, match="there is no"):
        read_profiles(str(tmp_path / "results"))
    with pytest.raises(UsageError, match="run analyze -o"):
        read_profiles(str(tmp_path))
    with pytest.raises(StoreError):
        read_profiles(f"sqlite:///{tmp_path}/none.sqlite")
    with pytest.raises(TritonpackError):
        read_profiles("mysql://nowhere/db")


def test_ten_thousand_models_are_read_within_seconds(tmp_path: Path) -> None:
    """Reading is no bottleneck; the bound leaves room for a busy machine."""
    path = tmp_path / "metrics-model.csv"
    heading = "model,device,batch,concurrency,status,throughput_infer_per_s,max_memory_mib,server_memory_mib\n"
    path.write_text(heading + "".join(f"m{i:05d},T4,1,1,ok,100,{600 + i % 700},300\n" for i in range(10_000)))
    start = time.perf_counter()
    assert len(read_profiles(str(path))) == 10_000
    assert time.perf_counter() - start < 5
