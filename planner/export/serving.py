"""What is deployed: the Triton servers of a plan, one on each GPU or slice, and the models that each serves.  [pure]"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from analyzer import __version__
from analyzer.models.repository import Model
from planner.export.inventory import RealGpu
from planner.placement.document import Placement
from planner.placement.placed_gpu import PlacedGpu, SlicePosition

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """A model on one server; replicas of it there are instances of one model.

    Parameters
    ----------
    name : str
        The name that clients call: that of the demand.
    source : str
        The model of the repository that answers.
    variant : str
        Name of the measured configuration; ``default`` is the model's own.
    replicas, instances : int
        Replicas of the plan, and instances that they have together.
    rate_infer_per_s, throughput_infer_per_s : float or None
        What is planned for it here, and what it delivers at its load share.
    memory_bytes : int
        Memory of the replicas, without the server.
    latency_p99_s : float or None
        Measured alone at the operating point.
    most_p99_s : float or None
        Upper end of the p99 that is predicted beside the others.
    config : str or None
        Its whole config.pbtxt as measured; None where the plan's repository is not at hand.
    changed : bool
        Whether that differs from the repository's, so that a server of the repository alone would not do.
    """

    name: str
    source: str
    variant: str
    replicas: int
    instances: int
    rate_infer_per_s: float | None
    throughput_infer_per_s: float | None
    memory_bytes: int
    latency_p99_s: float | None = None
    most_p99_s: float | None = None
    config: str | None = None
    changed: bool = False

    @property
    def share(self) -> float:
        """Its weight among the servers of the model: the planned rate, else the throughput, else the replicas."""
        return self.rate_infer_per_s or self.throughput_infer_per_s or float(self.replicas)


@dataclass(frozen=True, slots=True, kw_only=True)
class TritonServer:
    """One Triton of a plan, with only one GPU or slice visible to it.

    Parameters
    ----------
    name : str
        A label of RFC 1123, as ``gpu-3`` or ``gpu-3-1g-10gb-0``.
    gpu, type : str
        The GPU of the plan and its type.
    slice : SlicePosition or None
        The MIG slice; None for the whole GPU.
    node : int or None
        Node of the plan, numbered for each type; None where nodes do not matter.
    real : RealGpu or None
        The GPU that there is, by the inventory.
    models : tuple of ServedModel
    dependencies : tuple of str
        Models of the repository that these need and that are not planned themselves.
    load : tuple of str
        What is to be loaded, in this order: the models, after those that they call.
    memory_bytes : int
        Memory of the models and the server, as planned.
    http_port, grpc_port, metrics_port : int
        Where it listens on its host.
    """

    name: str
    gpu: str
    type: str
    slice: SlicePosition | None
    node: int | None
    real: RealGpu | None
    models: tuple[ServedModel, ...]
    dependencies: tuple[str, ...]
    load: tuple[str, ...]
    memory_bytes: int
    http_port: int
    grpc_port: int
    metrics_port: int

    @property
    def uuid(self) -> str | None:
        """UUID of the GPU or of the slice; None where the inventory does not have it."""
        if self.real is None:
            return None
        return self.real.uuid if self.slice is None else self.real.slice_uuid(self.slice)

    @property
    def host(self) -> str:
        """Name of its host; empty where there is one host."""
        return self.real.node if self.real else ""

    @property
    def address(self) -> str:
        """Where clients reach its host."""
        return (self.real.address if self.real else "") or self.host or LOOPBACK

    @property
    def content(self) -> TritonServer:
        """The server without names, place and ports; it is equal for servers that run the same."""
        return replace(
            self, name="", gpu="", node=None, real=None, http_port=0, grpc_port=0, metrics_port=0, slice=self._bare
        )

    @property
    def _bare(self) -> SlicePosition | None:
        return None if self.slice is None else replace(self.slice, start=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingPlan:
    """What is deployed.

    Parameters
    ----------
    digest : str
        SHA-256 of the placement.
    real : mapping of str to RealGpu
        The GPU that there is for each of the plan's, by the inventory.
    repository : mapping of str to Model
        The user's models; empty where the repository is not at hand.
    not_expressed : tuple of str
        What of the plan no target can say.
    """

    placement: Placement
    digest: str
    servers: tuple[TritonServer, ...]
    real: Mapping[str, RealGpu] = field(default_factory=dict)
    repository: Mapping[str, Model] = field(default_factory=dict)
    not_expressed: tuple[str, ...] = ()

    def grouped(self) -> tuple[tuple[TritonServer, ...], ...]:
        """Return the servers, those that run the same on one host together, in the order of the first of each.

        Where hosts are not known, all that run the same are together.
        """
        found: dict[tuple[TritonServer, str], list[TritonServer]] = defaultdict(list)
        for server in self.servers:
            found[server.content, server.host].append(server)
        return tuple(map(tuple, found.values()))

    def by_model(self) -> dict[str, tuple[tuple[TritonServer, ServedModel], ...]]:
        """Return where each model is served, in the order of the servers."""
        found: dict[str, list[tuple[TritonServer, ServedModel]]] = defaultdict(list)
        for server in self.servers:
            for model in server.models:
                found[model.name].append((server, model))
        return {name: tuple(found[name]) for name in sorted(found)}

    def hosts(self) -> dict[str, tuple[TritonServer, ...]]:
        """Return the servers of each host, in the order of the first of each; all of them under "" for one host."""
        found: dict[str, list[TritonServer]] = defaultdict(list)
        for server in self.servers:
            found[server.host].append(server)
        return {name: tuple(servers) for name, servers in found.items()}

    def gpus_by_host(self) -> dict[str, list[tuple[PlacedGpu, RealGpu | None]]]:
        """Return the GPUs of each host, with the real ones; all of them under "" for one host."""
        found: dict[str, list[tuple[PlacedGpu, RealGpu | None]]] = defaultdict(list)
        for gpu in self.placement.one_by_one():
            real = self.real.get(gpu.id)
            found[real.node if real else ""].append((gpu, real))
        return found

    def header(self, target: str, comment: str = "#") -> str:
        """Return the first lines of a text file: what it is made from, as comments."""
        return (
            f"{comment} Made by plan export --to {target} (tritonpack {__version__}); export again, do not edit.\n"
            f"{comment} Plan: sha256 {self.digest}\n"
        )


def model_arguments(server: TritonServer) -> list[str]:
    """Return the arguments of tritonserver by which it loads the models of the plan, and only these."""
    return [
        "--model-control-mode=explicit",
        *(f"--load-model={name}" for name in server.load),  # in the order of loading
        "--metrics-config=summary_latencies=true",  # the p99 that target `prometheus` watches
    ]
