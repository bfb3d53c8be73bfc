"""Run a real Prometheus on a loopback port, with history that promtool wrote into its data."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import yaml

from tests.conftest import missing, wait_for


@contextmanager
def prometheus(
    *, history: str = "", targets: Sequence[str] = (), interval: str = "1s", web: dict[str, Any] | None = None
) -> Iterator[str]:
    """Serve inside the ``with`` block, and yield ``127.0.0.1:PORT``.

    Parameters
    ----------
    history : str
        Samples in the OpenMetrics format, without its last line.
    targets : sequence of str
        Addresses that it scrapes as job triton; it has done so once when it is yielded.
    interval : str
        Between two scrapes.
    web : dict, optional
        Its web configuration: TLS and users.
    """
    if shutil.which("prometheus") is None or shutil.which("promtool") is None:
        missing("no prometheus and promtool here: apt-get install prometheus")
    home = Path(tempfile.mkdtemp(prefix="tritonpack-prometheus-"))
    try:
        _write_history(history, home)
        scrape = [{"job_name": "triton", "static_configs": [{"targets": list(targets)}]}] if targets else []
        config = {"global": {"scrape_interval": interval, "scrape_timeout": interval}, "scrape_configs": scrape}
        (home / "prometheus.yml").write_text(yaml.safe_dump(config))
        (home / "web.yml").write_text(yaml.safe_dump(web or {}))
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = f"127.0.0.1:{free.getsockname()[1]}"
        command = ["prometheus", "--config.file=prometheus.yml", f"--web.listen-address={address}"]
        command += ["--storage.tsdb.path=data", "--storage.tsdb.retention.time=100y", "--web.config.file=web.yml"]
        log = home / "log"
        with log.open("wb") as out:
            server = subprocess.Popen(command, cwd=home, stdout=out, stderr=out, start_new_session=True)
        try:
            wait_for(lambda: b"ready to receive web requests" in log.read_bytes(), "Prometheus' start")
            if targets:  # Prometheus looks for targets every 5 s
                wait_for(lambda: _up(address) == len(targets), "the first scrapes", timeout_s=20)
            yield address
        finally:
            server.terminate()
            server.wait(20)
    finally:
        shutil.rmtree(home)


def _up(address: str) -> int:
    with urlopen(f"http://{address}/api/v1/query?query=up") as answer:
        return len(json.load(answer)["data"]["result"])


def _write_history(history: str, home: Path) -> None:
    (home / "data").mkdir()
    if not history:
        return
    (home / "history").write_text(f"{history}# EOF\n")
    command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "history", "data"]
    command += ["--max-block-duration=744h"]  # a few large blocks are written faster than one for each two hours
    done = subprocess.run(command, cwd=home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
