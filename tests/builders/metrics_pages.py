"""Metrics pages of Triton and of the DCGM exporter, and a server for them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

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
    """Serve a metrics page on a loopback port; each request gets the next of `contents`, then always the last."""
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
