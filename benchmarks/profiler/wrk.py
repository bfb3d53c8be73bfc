"""Run wrk, a load generator for HTTP in C, with the requests that `analyze` sends."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from analyzer.load.load import Load
from benchmarks.profiler.peers import Peers, Point
from benchmarks.profiler.processes import CommandResult, PeerError, run

_OWN_FIELDS = ("host", "content-length")  # wrk writes these itself
_UNITS_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
_TIMEOUT_S = 60


def run_wrk(peers: Peers, load: Load, model: str, seconds: int) -> tuple[Point, CommandResult]:
    """Send a load's first request with as many connections as it has, in one thread; wrk takes whole seconds.

    Raises
    ------
    PeerError
        If it fails, or a request does.
    """
    path, script = lua_script(load.scripts[0][0])
    with tempfile.TemporaryDirectory(prefix="tritonpack-bench-") as folder:
        file = Path(folder) / "request.lua"
        file.write_text(script)
        command = [*peers.wrk, "--threads", "1", "--connections", str(load.concurrency), "--duration", f"{seconds}s"]
        command += ["--latency", "--script", str(file), f"http://{load.host}:{load.port}{path}"]
        ended = run(command, timeout_s=_TIMEOUT_S)
    return read_output(ended.output, model, load.concurrency), ended


def lua_script(request: bytes) -> tuple[str, str]:
    """Return the path of an HTTP request, and the script with which wrk sends its method, header fields and body."""
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    method, path, _ = first.split(" ")
    fields = [line.split(": ", 1) for line in lines]
    script = [f'wrk.method = "{method}"']
    script += [f'wrk.headers["{name}"] = "{value}"' for name, value in fields if name.lower() not in _OWN_FIELDS]
    script.append('wrk.body = "' + "".join(f"\\{byte:03d}" for byte in body) + '"')
    return path, "\n".join(script) + "\n"


def read_output(output: str, model: str, concurrency: int) -> Point:
    """Read the rate and the median latency that wrk prints.

    Raises
    ------
    PeerError
        If they are not there, or requests failed.
    """
    rate = re.search(r"^Requests/sec: +([\d.]+)", output, re.MULTILINE)
    median = re.search(r"^ +50% +([\d.]+)(us|ms|s)$", output, re.MULTILINE)
    failed = re.search(r"^ +(Non-2xx.*|Socket errors.*)$", output, re.MULTILINE)
    if rate is None or median is None or failed is not None:
        raise PeerError(f"wrk: {failed.group(1) if failed else 'no figures'}")
    return Point(
        model=model,
        batch=1,
        concurrency=concurrency,
        infer_per_s=float(rate.group(1)),
        p50_s=float(median.group(1)) * _UNITS_S[median.group(2)],
    )
