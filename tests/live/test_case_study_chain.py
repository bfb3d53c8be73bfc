"""Test the case study through the whole chain: a real Triton, a fake NVML, `analyze`, `plan` and `report`.

The fake `libnvidia-ml.so.1` shows the memory and utilization of the source's tables 1 and 2: 309 MiB for the idle
server, and the memory that each of the nine models adds while it is loaded. Everything else is real.
"""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from analyzer.servers.local import Installation
from tests.builders.model_repositories import write_model
from tests.conftest import missing
from tests.fakes import nvml

TABLE_2 = Path(__file__).parent.parent / "data" / "case-study.csv"
SERVER_MIB = 309  # table 1
COMMANDS = Path(sys.executable).parent


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Make a GPU of 16,000 MiB on which 309 MiB are in use."""
    folder = tmp_path / "nvml"
    (folder / "gpu0.d").mkdir(parents=True)
    nvml.write_state(folder / "driver.state", version="550.54")
    nvml.write_state(
        folder / "gpu0.state",
        *nvml.SAMPLES,
        name="Tesla V100-SXM2-16GB",
        uuid="GPU-11111111-2222-3333-4444-555555555555",
        memory_total_mib=16000,
        memory_reserved_mib=0,
        memory_used_mib=SERVER_MIB,
        utilization_pct=0,
        memory_utilization_pct=0,
        power_w=40,
        sm_clock_mhz=1290,
    )
    return folder


def write_repository(repository: Path, state: Path) -> dict[str, dict[str, str]]:
    """Write a model for each row of table 2, which takes its memory on the fake GPU while it is loaded."""
    with TABLE_2.open(newline="") as file:
        rows = {row["model"]: row for row in csv.DictReader(file)}
    for name, row in rows.items():
        place = state / "gpu0.d" / name
        own_mib = round(float(row["max_memory_mib"])) - SERVER_MIB
        busy = f"{row['max_utilization_pct']} {row['max_memory_utilization_pct']}"
        write_model(
            repository,
            name,
            initialize=f"open('{place}.add', 'w').write('{own_mib}'); open('{place}.busy', 'w').write('{busy}')",
            finalize=f"os.remove('{place}.add'); os.remove('{place}.busy')",
        )
    return rows


def test_tables_1_to_4_through_the_whole_chain(tmp_path: Path, state: Path, nvml_library: Path) -> None:
    """Measured memory and utilization equal the tables; the plans need four GPUs by memory and six for throughput."""
    if Installation.find() is None:
        missing("no tritonserver here: pip install 'tritonpack[local]'")
    rows = write_repository(tmp_path / "models", state)
    results = tmp_path / "results"
    environment = nvml.environment(nvml_library, state)

    def run(*command: str | Path) -> str:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run(
        *(COMMANDS / "analyze", "--model-folder", tmp_path / "models", "-o", results, "--launch-mode", "local"),
        *("--batch", "2", "--concurrency", "4", "--precision", "40", "--max-trial-seconds", "2", "--export"),
    )
    with (results / "metrics-server-only.csv").open(newline="") as file:
        assert [float(row["server_memory_mib"]) for row in csv.DictReader(file)] == [SERVER_MIB]
    with (results / "metrics-model.csv").open(newline="") as file:
        measured = {row["model"]: row for row in csv.DictReader(file)}
    assert measured.keys() == rows.keys()
    for name, row in rows.items():
        assert measured[name]["device"] == "Tesla V100-SXM2-16GB"
        for column in ("max_memory_mib", "max_utilization_pct", "max_memory_utilization_pct"):
            assert float(measured[name][column]) == float(row[column]), (name, column)
        assert float(measured[name]["power_w"]) == 40.0

    for mode, gpus in (("memory", 4), ("throughput", 6)):
        placement = results / f"{mode}.json"
        run(COMMANDS / "plan", "solve", results, "--mode", mode, "--gpu-memory", "16000MiB", "-o", placement)
        document = json.loads(placement.read_text())
        assert (document["status"], document["objective"]["gpus"]) == ("optimal", gpus)
        run(COMMANDS / "report", results, placement, "-o", results / f"report-{mode}")
        assert list((results / f"report-{mode}").glob("*.html"))
