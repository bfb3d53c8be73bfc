"""Start a Ray cluster of several nodes on this machine, each with GPUs of its own from the fake driver."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fakes import nvml

_STORE_BYTES = 80 << 20  # the least that Ray takes


@dataclass
class RayNodes:
    """A real cluster: each node has Ray's own processes, and its state of the fake driver in ``folder/node<N>``."""

    library: Path
    folder: Path
    home: Path
    cluster: Any
    nodes: list[Any] = field(default_factory=list)

    @property
    def address(self) -> str:
        """The address of the head, for ``--ray``."""
        return str(self.cluster.address)

    def add(self, *gpus: str, processors: int = 2, driver: str = "550.54") -> Any:
        """Start a node with GPUs of these names, and return it; the first one is the head."""
        number = len(self.nodes)
        state = self.folder / f"node{number}"
        nvml.write_driver(state, gpus, version=driver, uuids=f"GPU-{number}-")
        node = self.cluster.add_node(
            num_cpus=processors,
            num_gpus=len(gpus),
            object_store_memory=_STORE_BYTES,
            include_dashboard=False,
            temp_dir=str(self.home),
            env_vars={"LD_LIBRARY_PATH": str(self.library), "TRITONPACK_FAKE_NVML": str(state), **_PATHS},
        )
        self.nodes.append(node)
        return node

    def kill(self, node: Any) -> None:
        """End all processes of a node with SIGKILL, as when the machine is lost."""
        for processes in node.all_processes.values():
            for each in processes:
                each.process.send_signal(signal.SIGKILL)
        self.cluster.remove_node(node, allow_graceful=False)


_PATHS = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])}


@contextmanager
def ray_nodes(library: Path, folder: Path) -> Iterator[RayNodes]:
    """Yield a cluster without nodes; on exit all of its processes and files are gone."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    home = Path(tempfile.mkdtemp(prefix="ray-"))  # a short name: the paths of its sockets are at most 107 bytes long
    cluster = Cluster(shutdown_at_exit=False)
    try:
        yield RayNodes(library, folder, home, cluster)
    finally:
        cluster.shutdown()
        shutil.rmtree(home, ignore_errors=True)
