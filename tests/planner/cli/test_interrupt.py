"""Test Ctrl-C and a closed pipe during `plan solve`."""

from __future__ import annotations

import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

MODELS, LIMIT_S = 400, 300


def test_interrupt_gives_the_best_plan_so_far(tmp_path: Path) -> None:
    """Ctrl-C ends the search with exit code 0, the best plan so far and its bound, and a line that says so."""
    draw = random.Random(4)
    with (tmp_path / "metrics-model.csv").open("w") as file:
        file.write("model,device,batch,concurrency,status,max_memory_mib,server_memory_mib,")
        file.write("max_utilization_pct,max_memory_utilization_pct,throughput_infer_per_s\n")
        for i in range(MODELS):
            memory, first, second = draw.randint(700, 5000), draw.randint(3, 40), draw.randint(3, 40)
            file.write(f"m{i},gpu,1,1,ok,{memory},300,{first},{second},100\n")
    with (tmp_path / "demand.csv").open("w") as file:
        file.write("model,replicas\n" + "".join(f"m{i},{draw.randint(1, 9)}\n" for i in range(MODELS)))
    command = [sys.executable, "-c", "from planner.cli.main import main; main()", "solve", str(tmp_path)]
    options = ["--demand", str(tmp_path / "demand.csv"), "--gpu-memory", "16GiB", "--time-limit", str(LIMIT_S)]
    start = time.monotonic()
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        first_line = process.stderr.readline()  # the search has begun
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert "at least" in first_line, first_line + err
    assert process.returncode == 0, err
    assert re.match(r"\d+ GPUs: (at least \d+ GPUs are needed|proven)", out), out
    assert "stopping; the best plan so far follows" in err
    assert "Traceback" not in err
    assert time.monotonic() - start < LIMIT_S / 3


def test_file_is_written_if_the_reader_of_stdout_ends(tmp_path: Path) -> None:
    """`plan solve -o placement.json | head -1` writes the file although head closes the pipe; it once was lost."""
    data = Path(__file__).parents[2] / "data" / "case-study.csv"
    file = tmp_path / "placement.json"
    command = [sys.executable, "-c", "from planner.cli.main import main; main()", "solve", str(data)]
    options = ["--gpu-memory", "16GiB", "-o", str(file)]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        process.wait(timeout=60)
    assert file.stat().st_size > 0
