"""Read a device on another host from the Prometheus metrics pages of Triton and the DCGM exporter."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http.client import HTTPException
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import BaseHandler, HTTPSHandler, ProxyHandler, Request, build_opener

from analyzer.devices import Device, Reading
from analyzer.errors import DeviceError, UsageError
from analyzer.servers.access import Access
from analyzer.servers.redirects import NoRedirects
from analyzer.servers.tls import tls_failure

# Triton updates its figures every --metrics-interval-ms, 2000 by default; half of it misses no update.
PERIOD_S = 1.0
LAG_S = 2.2  # that interval, plus the time to read and publish
TIMEOUT_S = 5.0
PAGE_WAIT_S = 1.0  # Triton 2.51 opened its page 40 ms after it answered ready
FIGURES_WAIT_S = 10.0  # and wrote its first figures into it one interval later
_PAGE_BYTES = 64 * 2**20  # a metrics page has some kilobytes; anything larger is not one
_MIB = 2**20

# The series for each field of a Reading, with the factor to our unit; the first one that the pages have is used.
# Sources: docs/user_guide/metrics.md of Triton, default-counters.csv of the DCGM exporter.
_SERIES: dict[str, tuple[tuple[str, float], ...]] = {
    "memory_bytes": (("nv_gpu_memory_used_bytes", 1.0), ("DCGM_FI_DEV_FB_USED", _MIB)),
    "utilization": (
        ("nv_gpu_utilization", 1.0),
        ("DCGM_FI_PROF_GR_ENGINE_ACTIVE", 1.0),
        ("DCGM_FI_DEV_GPU_UTIL", 0.01),
    ),
    "memory_utilization": (("DCGM_FI_DEV_MEM_COPY_UTIL", 0.01),),
    "sm_utilization": (("DCGM_FI_PROF_SM_ACTIVE", 1.0),),
    "tensor_utilization": (("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", 1.0),),
    "dram_bandwidth_utilization": (("DCGM_FI_PROF_DRAM_ACTIVE", 1.0),),
    "power_w": (("nv_gpu_power_usage", 1.0), ("DCGM_FI_DEV_POWER_USAGE", 1.0)),
    "sm_clock_hz": (("DCGM_FI_DEV_SM_CLOCK", 1e6),),
}
_HOST_SERIES: dict[str, tuple[tuple[str, float], ...]] = {
    "memory_bytes": (("nv_cpu_memory_used_bytes", 1.0),),
    "utilization": (("nv_cpu_utilization", 1.0),),
}
_UUID_LABELS = ("gpu_uuid", "UUID")  # Triton's and the exporter's

AccessAt = Callable[[str], Access]

_LINE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?\s+(\S+)(?:\s+-?\d+)?\s*")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"')
_ESCAPE = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One sample (a line) of a metrics page."""

    name: str
    labels: dict[str, str]
    value: float

    @property
    def gpu(self) -> str | None:
        """UUID of the sample's GPU; for a MIG slice, with ``/`` and the exporter's number of the slice."""
        uuid = next((self.labels[label] for label in _UUID_LABELS if self.labels.get(label)), None)
        instance = self.labels.get("GPU_I_ID")
        return f"{uuid}/{instance}" if uuid and instance else uuid


class PrometheusSampler:
    """Reads a GPU, or a host without one, from its metrics pages.

    Parameters
    ----------
    metrics_url : str
        Address of Triton's page, such as ``http://host:8002/metrics``.
    dcgm_url : str, optional
        Address of the DCGM exporter's page, for figures that Triton does not publish.
    gpu : str, optional
        UUID, or its beginning, of the GPU to read; needed if the pages show several.
    access_at : callable, optional
        Returns what this client shows at an address.

    Raises
    ------
    DeviceError
        If a page cannot be read or shows no device.
    UsageError
        If `gpu` fits none or several of the GPUs shown; the message lists them.
    """

    def __init__(
        self,
        metrics_url: str,
        *,
        dcgm_url: str | None = None,
        gpu: str | None = None,
        access_at: AccessAt | None = None,
    ) -> None:
        self._access_at = access_at or (lambda url: Access())
        self._urls = [url for url in (metrics_url, dcgm_url) if url]
        self._gpu, self._device = self._open(gpu)

    @property
    def device(self) -> Device:
        """The GPU or host; a GPU's name comes from the DCGM exporter, since Triton publishes none."""
        return self._device

    @property
    def period_s(self) -> float:
        """The shortest useful time between two readings, in seconds."""
        return PERIOD_S

    @property
    def min_window_s(self) -> float:
        """The shortest window in which Triton updates its figures twice at its default interval, in seconds."""
        return 5 * PERIOD_S

    @property
    def lag_s(self) -> float:
        """The greatest age of the values in a reading, in seconds: Triton updates its page only at intervals."""
        return LAG_S

    def read(self) -> Reading:
        """Read the pages once.

        Raises
        ------
        DeviceError
            If a page cannot be read.
        """
        now = time.perf_counter()
        mine = [sample for sample in self._fetch() if sample.gpu == self._gpu]
        names = _SERIES if self._gpu else _HOST_SERIES
        figures = {figure: _first(mine, series) for figure, series in names.items()}
        memory = figures["memory_bytes"]
        return Reading(
            time_s=now,
            memory_bytes=None if memory is None else int(memory),
            utilization=figures["utilization"],
            memory_utilization=figures.get("memory_utilization"),
            sm_utilization=figures.get("sm_utilization"),
            tensor_utilization=figures.get("tensor_utilization"),
            dram_bandwidth_utilization=figures.get("dram_bandwidth_utilization"),
            power_w=figures.get("power_w"),
            sm_clock_hz=figures.get("sm_clock_hz"),
        )

    def close(self) -> None:
        """Do nothing: no resource is held between readings."""

    def _fetch(self) -> list[Sample]:
        return [sample for url in self._urls for sample in parse(fetch(url, access=self._access_at(url)))]

    def _open(self, wanted: str | None) -> tuple[str | None, Device]:
        """Wait for the first figures, and return the GPU's UUID and the device.

        Triton is ready before its metrics page is, and the page shows zeros at first.
        """
        page_due_s, figures_due_s = (time.monotonic() + wait_s for wait_s in (PAGE_WAIT_S, FIGURES_WAIT_S))
        while True:
            try:
                samples = self._fetch()
            except DeviceError:
                if time.monotonic() > page_due_s:
                    raise
            else:
                gpu = _choose(samples, wanted, self._urls[0])
                mine = [sample for sample in samples if sample.gpu == gpu]
                total = _gpu_total(mine) if gpu else _first(mine, (("nv_cpu_memory_total_bytes", 1.0),))
                if total:
                    return gpu, self._describe(mine, gpu, int(total))
                if total is None or time.monotonic() > figures_due_s:
                    raise DeviceError(
                        f"{self._urls[0]} shows neither a GPU's memory nor the host's: "
                        "start Triton with --allow-gpu-metrics=true and --allow-cpu-metrics=true"
                    )
            time.sleep(0.1)

    def _describe(self, mine: list[Sample], gpu: str | None, total_bytes: int) -> Device:
        host = urlsplit(self._urls[0]).hostname or self._urls[0]
        return Device(
            name=(_label(mine, "modelName") or "GPU") if gpu else f"host {host}",
            uuid=gpu or host,
            memory_bytes=total_bytes,
            driver=_label(mine, "DCGM_FI_DRIVER_VERSION"),
        )


def fetch(url: str, *, timeout_s: float = TIMEOUT_S, access: Access | None = None) -> str:
    """Download a metrics page.

    Parameters
    ----------
    access : Access, optional
        What this client shows there; redirects are not followed, since they could lead elsewhere.

    Raises
    ------
    UsageError
        If the address is not an http address, or a certificate or token cannot be read.
    DeviceError
        If the page cannot be read.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise UsageError(f"metrics address {url!r} is not an http address: give one like http://host:8002/metrics")
    shown = access or Access()
    request = Request(url, headers=shown.request_headers())  # noqa: S310 - the scheme is checked above
    handlers: list[BaseHandler] = [ProxyHandler({})]  # control requests and load use no proxy either
    if url.startswith("https"):
        handlers.append(HTTPSHandler(context=shown.tls.context()))
    try:
        with build_opener(*handlers, NoRedirects).open(request, timeout=timeout_s) as page:
            text: bytes = page.read(_PAGE_BYTES)
    except HTTPError as error:
        raise DeviceError(f"{url} answers {error.code} {error.reason}: is it Triton's metrics page?") from None
    except (URLError, OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error) or type(error).__name__
        reason = tls_failure(reason) or reason
        raise DeviceError(
            f"metrics page {url} cannot be read ({reason}): check `metrics_url` and Triton's --allow-metrics"
        ) from None
    return text.decode(errors="replace")


def parse(text: str) -> list[Sample]:
    """Parse the text format (https://prometheus.io/docs/instrumenting/exposition_formats); other lines are skipped."""
    samples = []
    for line in text.splitlines():
        match = _LINE.fullmatch(line.strip())
        if match is None:  # a comment, a blank line, or anything else that is not a sample
            continue
        name, labels, value = match.groups()
        try:
            number = float(value)
        except ValueError:
            continue
        pairs = {key: _unescape(raw) for key, raw in _LABEL.findall(labels or "")}
        samples.append(Sample(name=name, labels=pairs, value=number))
    return samples


def _unescape(raw: str) -> str:
    return _ESCAPE.sub(lambda match: "\n" if match[1] == "n" else match[1], raw)


def _choose(samples: Iterable[Sample], wanted: str | None, url: str) -> str | None:
    """Return the UUID of the GPU to read; None for a host without a GPU."""
    known = {name for series in _SERIES.values() for name, _ in series}
    shown = sorted({sample.gpu for sample in samples if sample.gpu and sample.name in known})
    found = [gpu for gpu in shown if wanted is None or gpu.startswith(wanted)]
    if len(found) == 1:
        return found[0]
    if not shown and wanted is None:
        return None
    listing = ", ".join(shown) or "none"
    if wanted is None:
        raise UsageError(f"{url} shows {len(shown)} GPUs; name one with `gpus`: {listing}")
    fact = "fits several GPUs" if found else "is not shown"
    raise UsageError(f"GPU {wanted!r} {fact} by {url}; shown: {listing}")


def _gpu_total(samples: list[Sample]) -> float | None:
    """Return the GPU's memory in bytes from Triton's page, whose figures are newer, else from the exporter's."""
    if (total := _first(samples, (("nv_gpu_memory_total_bytes", 1.0),))) is not None:
        return total
    used, free = (_first(samples, ((f"DCGM_FI_DEV_FB_{part}", _MIB),)) for part in ("USED", "FREE"))
    return None if used is None or free is None else used + free


def _first(samples: Iterable[Sample], series: tuple[tuple[str, float], ...]) -> float | None:
    values = {sample.name: sample.value for sample in samples if math.isfinite(sample.value)}
    return next((values[name] * unit for name, unit in series if name in values), None)


def _label(samples: Iterable[Sample], label: str) -> str | None:
    return next((sample.labels[label] for sample in samples if sample.labels.get(label)), None)
