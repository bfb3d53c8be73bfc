"""Find the metrics page of a running Triton, and go on without one where none answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from analyzer.devices import Device, Reading, Sampler
from analyzer.devices.prometheus import PrometheusSampler, fetch, parse
from analyzer.errors import DeviceError
from analyzer.servers.address import ServerAddress

_HTTP_PORT = 8000  # Triton's defaults
_METRICS_PORT = 8002
_FIND_TIMEOUT_S = 2.0
_PREFIX = "nv_"  # of every series of Triton
_HERE = ("127.0.0.1", "localhost", "[::1]")

Say = Callable[[str], None]


def open_page(
    address: ServerAddress, metrics_url: str | None, *, dcgm_url: str | None = None, gpu: str | None = None, say: Say
) -> Sampler:
    """Open a sampler for the metrics page of a server; without a page that can be read, one without figures.

    Parameters
    ----------
    address : ServerAddress
        Where the server's control requests go.
    metrics_url : str or None
        Address of the page; None to find it, unless the server is used over gRPC only.
    dcgm_url, gpu : str, optional
        See `PrometheusSampler`.
    say : callable
        Receives one line that says why figures are missing; the option's name is in backquotes.

    Raises
    ------
    UsageError
        If the page shows several GPUs and none was chosen.
    """
    try:
        if metrics_url is None and address.protocol == "grpc":
            raise DeviceError("nothing is asked over HTTP for a gRPC address: name the metrics page with `metrics_url`")
        url = metrics_url or _find(address)
        return _Page(PrometheusSampler(url, dcgm_url=dcgm_url, gpu=gpu, access_at=address.access_at), say)
    except DeviceError as error:
        say(f"measured without memory and utilization: {error.message}")
        return NoFigures(address.host)


def pages_to_try(http: str, processes: Path = Path("/proc")) -> list[str]:
    """Return where the page of the Triton at ``host:port`` may be, the likeliest first.

    These are the port in the settings of a tritonserver of this host, the port beside the HTTP port as in Triton's
    defaults, and the default itself.

    Parameters
    ----------
    processes : Path
        Where the processes of this host are listed.
    """
    host, _, port = http.rpartition(":")
    told = _in_settings(int(port), processes) if host in _HERE else None
    beside = int(port) + _METRICS_PORT - _HTTP_PORT
    ports = [told, beside if beside < 65536 else None, _METRICS_PORT]
    return [f"http://{host}:{each}/metrics" for each in dict.fromkeys(ports) if each is not None]


def _find(address: ServerAddress) -> str:
    tried = pages_to_try(address.host_port)
    for url in tried:
        try:
            page = fetch(url, timeout_s=_FIND_TIMEOUT_S, access=address.access_at(url))
            if any(sample.name.startswith(_PREFIX) for sample in parse(page)):
                return url
        except DeviceError:
            continue
    raise DeviceError(
        f"no metrics page of Triton answers at {', '.join(tried)}: name it with `metrics_url`, and see Triton's "
        "--allow-metrics"
    )


def _in_settings(http_port: int, processes: Path) -> int | None:
    """Return the metrics port in the command line of the tritonserver that listens on a port."""
    for entry in processes.iterdir():
        try:
            words = (entry / "cmdline").read_text(errors="replace").split("\0") if entry.name.isdigit() else []
        except OSError:  # ended meanwhile, or another user's
            continue
        if words and Path(words[0]).name.startswith("tritonserver"):
            flags = _flags(words[1:])
            if flags.get("http-port", str(_HTTP_PORT)) == str(http_port):
                port = flags.get("metrics-port", str(_METRICS_PORT))
                return int(port) if port.isdecimal() else None
    return None


def _flags(words: Sequence[str]) -> Mapping[str, str]:
    """Return the values of flags in either form, ``--flag=value`` and ``--flag value``."""
    flags = {}
    for word, after in zip(words, [*words[1:], ""], strict=True):
        if word.startswith("--"):
            name, given, value = word[2:].partition("=")
            flags[name] = value if given else after
    return flags


class _Page:
    """A sampler of a metrics page; readings in which the page does not answer have no figures."""

    def __init__(self, page: PrometheusSampler, say: Say) -> None:
        self._page = page
        self._say = say
        self.device = page.device
        self.period_s = page.period_s
        self.min_window_s = page.min_window_s
        self.lag_s = page.lag_s

    def read(self) -> Reading:
        """Read the page once; see `PrometheusSampler.read`."""
        began_s = time.perf_counter()
        try:
            return self._page.read()
        except DeviceError as error:
            self._say(f"memory and utilization are missing for a while: {error.message}")
            return Reading(time_s=began_s)

    def close(self) -> None:
        """Close the page."""
        self._page.close()


class NoFigures:
    """A sampler of a host of which nothing can be read: its readings have no figures.

    Parameters
    ----------
    host : str
        The host's name or address.
    """

    period_s = 1.0
    min_window_s = 0.0
    lag_s = 0.0

    def __init__(self, host: str) -> None:
        self.device = Device(name=f"host {host}", uuid=host, memory_bytes=0, driver=None)

    def read(self) -> Reading:
        """Return a reading without figures."""
        return Reading(time_s=time.perf_counter())

    def close(self) -> None:
        """Do nothing."""
