"""Test the CSV of measurements: its columns, and that writing and reading neither loses nor invents a figure."""

from __future__ import annotations

import csv
import math
import time
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analyzer.errors import UsageError
from analyzer.measurements.csv_columns import FIGURES, STREAM_FIGURES
from analyzer.measurements.csv_file import (
    read_measurements_csv,
    read_server_only_csv,
    write_measurements_csv,
    write_server_only_csv,
)
from analyzer.measurements.record import Measurement, Provenance, ServerOnly, Status, Trial, Variant
from analyzer.measurements.stream_figures import StreamFigures

MIB = 1024**2
UNKNOWN = Provenance(
    device_name="Tesla T4",
    device_uuid="unknown",
    device_memory_bytes=0,
    driver=None,
    server="unknown",
    tool_version="unknown",
    model_hash="unknown",
)
WITH_ONNXRUNTIME = replace(UNKNOWN, server="2.51.0 with onnxruntime 1.31.1 on the CPU")
FAILED = Measurement(
    trial=Trial(model="chest", batch=4, concurrency=2), provenance=UNKNOWN, status=Status.OUT_OF_MEMORY
)
# The order that users' programs rely on: issue 2's columns, issue 3's, the trial's settings, then streams.
HEADER = (
    "model,device,variant,instances,batch,concurrency,status,cause,throughput_infer_per_s,latency_avg_ms,"
    "latency_p50_ms,latency_p90_ms,latency_p95_ms,latency_p99_ms,max_memory_mib,server_memory_mib,"
    "model_memory_mib,max_utilization_pct,max_memory_utilization_pct,mean_utilization_pct,power_w,requests,"
    "window_s,request_rate_per_s,throughput_ci_pct,latency_p99_ci_pct,load_peak_memory_mib,steady_memory_mib,"
    "run_peak_memory_mib,sm_utilization_pct,tensor_utilization_pct,dram_bandwidth_utilization_pct,sm_clock_mhz,"
    "errors,late,left_out_s,offered,backlog_half_width,transport,inputs,arrivals,memory_is_reservation,server,"
    "input_length,output_length,responses_per_s,responses_ci_pct,first_response_avg_ms,first_response_p50_ms,"
    "first_response_p99_ms,first_response_p99_ci_pct,response_gap_avg_ms,response_gap_p50_ms,response_gap_p99_ms,"
    "response_gap_p99_ci_pct,input_tokens_avg,output_tokens_avg,output_tokens_per_s,output_tokens_ci_pct,"
    "itl_avg_ms,itl_p50_ms,itl_p99_ms,itl_p99_ci_pct"
)


def read_text(path: Path, text: str) -> tuple[Measurement, ...]:
    """Read measurements from a CSV text."""
    path.write_text(text)
    return read_measurements_csv(path)


def test_written_csv_has_the_documented_columns_and_units(tmp_path: Path) -> None:
    """Figures are in milliseconds, MiB, percent and MHz with at most six digits; an unknown figure is an empty cell."""
    full = replace(
        FAILED,
        trial=Trial(model="chest", variant=Variant(instances=2), request_rate_per_s=50.0),
        provenance=WITH_ONNXRUNTIME,
        instances=2,
        status=Status.OK,
        throughput_infer_per_s=172.4375119,  # six digits: 172.438
        latency_p99_s=0.0123456789,  # 12.3457 ms
        max_memory_bytes=5035 * MIB,
        server_memory_bytes=309 * MIB,  # the model's own: 4726 MiB
        max_utilization=0.56,
        requests=1724375,  # counted, so not rounded
        sm_clock_hz=1.59e9,
        errors=0,
        stream=StreamFigures(first_response_p99_s=0.25, itl_p99_ci=0.05),
    )
    write_measurements_csv(tmp_path / "m.csv", [full, FAILED])
    lines = (tmp_path / "m.csv").read_text().splitlines()
    assert lines == [
        HEADER,
        "chest,Tesla T4,instances=2,2,1,1,ok,,172.438,,,,,12.3457,5035,309,4726,56,,,,1724375,,"
        "50,,,,,,,,,1590,0,,,,,http,,poisson,,2.51.0 with onnxruntime 1.31.1 on the CPU,,,,,,,250,,,,,,,,,,,,,5",
        "chest,Tesla T4,default,1,4,2,out_of_memory,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,http,,,,unknown,,,,,,,,,,,,,,,,,,,,",
    ]


def test_every_figure_of_a_measurement_has_a_column() -> None:
    """A figure that is added to the record must be written, too."""
    figures = {field.name for field in fields(Measurement)} - NO_FIGURES
    assert {figure.field for figure in FIGURES} == figures | {"model_memory_bytes"}
    assert [figure.field for figure in STREAM_FIGURES] == [field.name for field in fields(StreamFigures)]


TEXT = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(
    ["=1+1", "'=1", "-2", "''", "@x", "\tx", '"', "a,b\r\nc", "+", "'"]
)
# The table holds six digits and MiB: whole MiB and figures in range, so that the round trip can be exact to 1e-5.
NUMBER = st.none() | st.floats(1e-6, 0.999)
MEMORY = st.none() | st.integers(0, 10**5).map(lambda mib: mib * MIB)
COUNT = st.none() | st.integers(0, 10**5)
NO_FIGURES = {"trial", "provenance", "status", "instances", "cause", "stream", "memory_is_reservation"}
VARIANTS = st.builds(
    Variant,
    instances=st.none() | st.integers(1, 99),
    dynamic_batching=st.none() | st.just(False),
    max_batch_size=st.none() | st.integers(0, 999),
) | st.builds(
    Variant,
    instances=st.none() | st.integers(1, 99),
    dynamic_batching=st.just(True),
    max_queue_delay_s=st.integers(0, 10**7).map(lambda delay_us: delay_us / 1e6),
)
MEASUREMENTS = st.builds(
    Measurement,
    trial=st.builds(
        Trial,
        model=TEXT.filter(str.strip),
        variant=VARIANTS,
        batch=st.integers(1, 999),
        concurrency=st.integers(1, 999),
        request_rate_per_s=st.none() | st.integers(1, 10**5).map(float),
        transport=st.sampled_from(["http", "grpc", "http+shm"]),
        inputs=TEXT,
        arrivals=st.sampled_from(["poisson", "constant"]),
        input_length=COUNT,
        output_length=COUNT,
    ).map(lambda trial: trial if trial.request_rate_per_s else replace(trial, arrivals="poisson")),
    provenance=st.sampled_from([UNKNOWN, WITH_ONNXRUNTIME]),
    status=st.sampled_from(Status),
    instances=st.integers(1, 99),
    cause=TEXT,
    memory_is_reservation=st.booleans(),
    stream=st.builds(StreamFigures, **{field.name: NUMBER for field in fields(StreamFigures)}),
    **{
        field.name: MEMORY if field.name.endswith("_bytes") else COUNT if "int" in field.type else NUMBER
        for field in fields(Measurement)
        if field.name not in NO_FIGURES
    },
)


def alike(left: object, right: object) -> bool:
    """Return whether two figures are equal to the digits that the table holds; None equals only None."""
    if isinstance(left, float) and isinstance(right, float):
        return math.isclose(left, right, rel_tol=1e-5)
    return left == right


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(MEASUREMENTS, max_size=3))
def test_measurements_come_back_as_they_were(tmp_path: Path, measurements: list[Measurement]) -> None:
    """Written and read again, trials, texts and figures are the same, whatever characters the texts hold."""
    path = tmp_path / "m.csv"
    write_measurements_csv(path, measurements)
    found = read_measurements_csv(path)
    assert [one.trial for one in found] == [one.trial for one in measurements]
    for before, after in zip(measurements, found, strict=True):
        for record, read in ((before, after), (before.stream, after.stream)):
            for field in fields(record):
                if field.name != "stream":
                    assert alike(getattr(record, field.name), getattr(read, field.name)), field.name


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TEXT.filter(str.strip))
def test_no_cell_is_a_formula(tmp_path: Path, text: str) -> None:
    """No cell begins with a character that makes a spreadsheet run it: = + - @, a tab or a line end."""
    path = tmp_path / "m.csv"
    trial = Trial(model=text, inputs=text)
    write_measurements_csv(path, [replace(FAILED, trial=trial, cause=text)])
    with path.open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert not any((cell or "").startswith(("=", "+", "-", "@", "\t", "\r", "\n")) for cell in row.values())


def test_read_takes_a_table_with_few_columns(tmp_path: Path) -> None:
    """Figures without a column are unknown; 1461 MiB with a server of 309 MiB are 1152 MiB of the model."""
    text = (
        "\ufeffmodel,batch,concurrency,throughput_infer_per_s,max_memory_mib,server_memory_mib,max_utilization_pct\r\n"
    )
    (found,) = read_text(tmp_path / "m.csv", text + "breast,2,4,1381.6,1461,309,30\r\n")
    assert found.trial == Trial(model="breast", batch=2, concurrency=4)
    assert (found.status, found.throughput_infer_per_s, found.max_utilization) == (Status.OK, 1381.6, 0.3)
    assert found.model_memory_bytes == 1152 * MIB
    assert found.latency_p99_s is None
    assert found.provenance == replace(UNKNOWN, device_name="unknown")


@pytest.mark.parametrize(
    ("columns", "cells", "highest_mib", "server_mib"),
    [
        ("model_memory_mib,server_memory_mib", "100,309", 409, 309),
        ("model_memory_mib,max_memory_mib", "100,409", 409, 309),
        ("model_memory_mib,server_memory_mib,max_memory_mib", "100.3,309,409", 409, 309),
        ("max_memory_mib", "409", 409, None),
    ],
)
def test_read_fills_in_the_third_memory(
    tmp_path: Path, columns: str, cells: str, highest_mib: int, server_mib: int | None
) -> None:
    """Of the highest, the server's and the model's memory, two give the third; all three may differ by rounding."""
    (found,) = read_text(tmp_path / "m.csv", f"model,batch,concurrency,{columns}\nm,1,1,{cells}\n")
    assert found.max_memory_bytes == highest_mib * MIB
    assert found.server_memory_bytes == (None if server_mib is None else server_mib * MIB)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: no column model, batch, concurrency"),
        ("model,batch\nm,1\n", "line 1: no column concurrency"),
        ("model,batch,concurrency,max_memory\n", "unknown column 'max_memory'; did you mean 'max_memory_mib'?"),
        ("model,batch,concurrency,batch\n", "line 1: column batch appears twice"),
        ("model,batch,concurrency\nm,1,1\nm,1\n", "line 3 has 2 cells under 3 columns"),
        ("model,batch,concurrency\n ,1,1\n", "line 2: column model is empty"),
        ("model,batch,concurrency\nm,0,1\n", "line 2: column batch: '0' is not a whole number from 1"),
        ("model,batch,concurrency\nm,1.5,1\n", "column batch: '1.5'"),
        ("model,batch,concurrency\nm,1,-4\n", "column concurrency: '-4'"),
        ("model,batch,concurrency\nm,1,0\n", "column concurrency: '0'"),
        ("model,batch,concurrency,status\nm,1,1,okay\n", "unknown 'okay'; did you mean 'ok'?"),
        ("model,batch,concurrency,variant\nm,1,1,fp16\n", "column variant: 'fp16'"),
        ("model,batch,concurrency,power_w\nm,1,1,70 W\n", "column power_w: '70 W' is not a number"),
        ("model,batch,concurrency,power_w\nm,1,1,-70\n", "column power_w: '-70'"),
        ("model,batch,concurrency,power_w\nm,1,1,nan\n", "column power_w: 'nan'"),
        ("model,batch,concurrency,power_w\nm,1,1,inf\n", "column power_w: 'inf'"),
        ("model,batch,concurrency,power_w\nm,1,1,1_0\n", "column power_w: '1_0'"),
        ("model,batch,concurrency,max_utilization_pct\nm,1,1,560\n", "column max_utilization_pct: '560'"),
        ("model,batch,concurrency,model_memory_mib\nm,1,1,5\n", "needs max_memory_mib or server_memory_mib"),
        (
            "model,batch,concurrency,max_memory_mib,server_memory_mib,model_memory_mib\nm,1,1,100,20,50\n",
            "column model_memory_mib: 50, but max_memory_mib less server_memory_mib is 80",
        ),
        ('model,batch,concurrency\n"m,1,1\n', "line 2: unexpected end of data"),
    ],
)
def test_read_names_line_and_column(tmp_path: Path, text: str, said: str) -> None:
    """A malformed table is refused in one line that names the file, the line and the column."""
    with pytest.raises(UsageError) as raised:
        read_text(tmp_path / "m.csv", text)
    assert said in str(raised.value)
    assert str(raised.value).startswith(f"{tmp_path / 'm.csv'}")
    assert "\n" not in str(raised.value)


def test_read_refuses_files_without_text(tmp_path: Path) -> None:
    """A missing file, a folder and a file that is not UTF-8 are refused with the reason."""
    with pytest.raises(UsageError, match="No such file"):
        read_measurements_csv(tmp_path / "none.csv")
    with pytest.raises(UsageError, match="Is a directory"):
        read_measurements_csv(tmp_path)
    (tmp_path / "m.csv").write_bytes(b"model,batch,concurrency\n\xff\xfe,1,1\n")
    with pytest.raises(UsageError, match="is not UTF-8"):
        read_measurements_csv(tmp_path / "m.csv")


def test_ten_thousand_rows_are_read_in_a_second(tmp_path: Path) -> None:
    """10,000 rows take less than 1 s of processor time, which does not depend on other load of the machine."""
    full = replace(
        FAILED,
        status=Status.OK,
        **{figure.field: 1 for figure in FIGURES if figure.field != "model_memory_bytes"},
    )
    rows = [replace(full, trial=Trial(model=f"m{number}")) for number in range(10_000)]
    write_measurements_csv(tmp_path / "m.csv", rows)
    start_s = time.process_time()
    assert len(read_measurements_csv(tmp_path / "m.csv")) == 10_000
    assert time.process_time() - start_s < 1.0


def test_server_only_is_read_as_written(tmp_path: Path) -> None:
    """The idle server's row keeps device, server and figures; an unknown figure stays unknown."""
    baseline = ServerOnly(
        provenance=replace(UNKNOWN, server="2.51.0"),
        memory_bytes=309 * MIB,
        max_utilization=0.0,
        max_memory_utilization=None,
    )
    write_server_only_csv(tmp_path / "s.csv", [baseline])
    assert (tmp_path / "s.csv").read_text() == (
        "device,server,server_memory_mib,max_utilization_pct,max_memory_utilization_pct\nTesla T4,2.51.0,309,0,\n"
    )
    assert read_server_only_csv(tmp_path / "s.csv") == (baseline,)
