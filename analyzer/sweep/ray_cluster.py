"""Connect to a Ray cluster, and list the nodes that have devices to measure on."""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
import socket
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from analyzer.errors import ServerError, UsageError
from analyzer.formats.temporary_folder import temporary_folder

_CONNECT_TIMEOUT_S = 5.0
_OBJECT_STORE_BYTES = 80 << 20  # of a cluster of our own; records of models are all that it holds


@dataclass(frozen=True, slots=True, kw_only=True)
class RayNode:
    """A node of a cluster.

    Parameters
    ----------
    id : str
    name : str
        Its host's name; where several nodes have it, with the beginning of the id.
    gpus : int
        GPUs that the cluster may use on it.
    """

    id: str
    name: str
    gpus: int


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Connect to the cluster at an address, and disconnect; a connection that this process has is used as it is.

    Parameters
    ----------
    address : str
        ``host:port`` of the head's GCS; ``auto`` for the cluster of this host; ``local`` for one of this process alone.

    Raises
    ------
    UsageError
        If Ray is not installed.
    ServerError
        If no cluster answers there.
    """
    if importlib.util.find_spec("ray") is None:
        raise UsageError("`ray` needs Ray on this host and on the nodes: pip install 'tritonpack[ray]'")
    import ray

    if ray.is_initialized():
        yield
        return
    with temporary_folder("ray-") as folder:  # of a cluster of our own; Ray wants short names
        _connect(address, str(folder))
        try:
            yield
        finally:
            ray.shutdown()


def _connect(address: str, folder: str) -> None:
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to anyone
    options: dict[str, Any] = {}
    if address == "local":
        from analyzer.devices.nvml import list_gpus

        options["num_gpus"] = len(list_gpus().present)
        options |= {"include_dashboard": False, "object_store_memory": _OBJECT_STORE_BYTES, "_temp_dir": folder}
    before = signal.getsignal(signal.SIGTERM)
    _keep_stdout_clean()
    try:
        _check_listens(os.environ.get("RAY_ADDRESS", "") if address == "auto" else address)
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **options)
    except (OSError, RuntimeError, ValueError) as error:  # ConnectionError is an OSError
        raise ServerError(
            f"no Ray cluster can be used at {address!r} ({_first_sentence(error)}): start one with `ray start --head`, "
            "give the address that it prints, or use `ray='local'`"
        ) from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)  # Ray puts one in its place that ends this process


def _check_listens(address: str) -> None:
    """Raise OSError if nothing listens at ``host:port``, which Ray tries for minutes; other addresses pass."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal() and "/" not in host:
        socket.create_connection((host, int(port)), _CONNECT_TIMEOUT_S).close()


def _keep_stdout_clean() -> None:
    """Keep Ray from printing a lost node's log to stdout, where results go; `log_to_driver` does not (Ray 2.60)."""
    from ray._private import worker

    worker.print_to_stdstream = lambda data, ignore_prefix: None


def _first_sentence(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return line.partition(". ")[0].rstrip(".")[:200]


def nodes_to_use() -> Sequence[RayNode]:
    """Return the nodes with GPUs; if there is none, those with processors.

    Raises
    ------
    ServerError
        If the cluster has neither.
    """
    import ray

    alive = [node for node in ray.nodes() if node["Alive"]]
    hosts = Counter(node["NodeManagerHostname"] for node in alive)
    found = [
        node
        for resource in ("GPU", "CPU")
        for node in alive
        if node["Resources"].get(resource, 0) >= 1
        and (resource == "GPU" or not any(other["Resources"].get("GPU", 0) >= 1 for other in alive))
    ]
    if not found:
        raise ServerError(
            f"the Ray cluster has {len(alive)} nodes, and none offers a GPU or a processor: start its nodes with "
            "--num-gpus or --num-cpus"
        )
    return [
        RayNode(
            id=node["NodeID"],
            name=f"{host}-{node['NodeID'][:6]}" if hosts[host := node["NodeManagerHostname"]] > 1 else host,
            gpus=int(node["Resources"].get("GPU", 0)),
        )
        for node in sorted(found, key=lambda node: (node["NodeManagerHostname"], node["NodeID"]))
    ]


def is_alive(node_id: str) -> bool:
    """Whether a node is in the cluster still."""
    import ray

    return any(node["NodeID"] == node_id and node["Alive"] for node in ray.nodes())
