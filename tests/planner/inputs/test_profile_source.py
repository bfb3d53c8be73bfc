"""Test the sources of profiles: a store, a folder, a CSV file."""

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
    """Profiles are the same whether the output folder or the URL of its store is given."""
    with Store.open(tmp_path / STORE_FILE) as store:
        store.append(measurement("chest"))
        store.append(measurement("liver"))
        store.append_server_only(IDLE)
    found = read_profiles(str(tmp_path))
    assert [p.model for p in found] == ["chest", "liver"]
    assert found[0].device_memory_bytes == 15000 * MIB
    assert read_profiles(f"sqlite:///{tmp_path / STORE_FILE}") == found


def test_csv_uses_the_server_only_file_beside_it(tmp_path: Path) -> None:
    """1309 MiB minus the idle server's 209 MiB are 1100 MiB; without the file the error names the option."""
    path = tmp_path / "metrics-model.csv"
    write_measurements_csv(path, [measurement(server_memory_mib=None)])
    with pytest.raises(UsageError, match="`server_memory_mib=309`"):
        read_profiles(str(path))
    assert read_profiles(str(path), server_memory_mib=309)[0].points[0].memory_bytes == 1000 * MIB
    write_server_only_csv(tmp_path / "metrics-server-only.csv", [IDLE])
    for source in (path, tmp_path):
        assert read_profiles(str(source))[0].points[0].memory_bytes == 1100 * MIB


def test_source_without_measurements_is_an_error(tmp_path: Path) -> None:
    """Refused are a missing path, a folder without measurements, and a URL without a store."""
    with pytest.raises(UsageError, match="there is no"):
        read_profiles(str(tmp_path / "results"))
    with pytest.raises(UsageError, match="run analyze -o"):
        read_profiles(str(tmp_path))
    with pytest.raises(StoreError):
        read_profiles(f"sqlite:///{tmp_path}/none.sqlite")
    with pytest.raises(TritonpackError):
        read_profiles("mysql://nowhere/db")


def test_ten_thousand_models_are_read_within_seconds(tmp_path: Path) -> None:
    """Ten thousand models are read in under 5 s, a limit that also a busy machine keeps."""
    path = tmp_path / "metrics-model.csv"
    heading = "model,device,batch,concurrency,status,throughput_infer_per_s,max_memory_mib,server_memory_mib\n"
    path.write_text(heading + "".join(f"m{i:05d},T4,1,1,ok,100,{600 + i % 700},300\n" for i in range(10_000)))
    start = time.perf_counter()
    assert len(read_profiles(str(path))) == 10_000
    assert time.perf_counter() - start < 5
