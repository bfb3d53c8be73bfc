"""Make the servers that a placement asks for: configurations as measured, places, ports.                     [pure]"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from analyzer.errors import UsageError
from analyzer.measurements.record import Variant
from analyzer.models.config_file import config_text
from analyzer.models.dependencies import all_dependencies, dependencies_to_load
from analyzer.models.repository import Model
from analyzer.models.variants import variant_config
from planner.export.inventory import RealGpu, assign
from planner.export.names import dns_label, unique
from planner.export.serving import ServedModel, ServingPlan, TritonServer
from planner.placement.document import Placement
from planner.placement.file import sha256
from planner.placement.placed_gpu import PlacedGpu, PlacedModel, SlicePosition


def serving_plan(
    placement: Placement,
    *,
    repository: Mapping[str, Model] | None = None,
    inventory: Sequence[RealGpu] = (),
    first_port: int = 8000,
) -> ServingPlan:
    """Return the servers that a placement asks for.

    Parameters
    ----------
    repository : mapping of str to Model, optional
        The models that the plan was measured with; without it, only configurations that are the models' own can be
        deployed.
    inventory : sequence of RealGpu
        The GPUs that there are.
    first_port : int
        HTTP port of the first server of each host; gRPC and metrics follow it, and the next server is 10 above.

    Raises
    ------
    UsageError
        If the inventory or the repository lacks what the plan needs, one server would have a model in two
        configurations, or the ports of a host would exceed 65535.
    """
    repository = repository or {}
    real = assign(placement, inventory) if inventory else {}
    parts = [(gpu, cut, models) for gpu in placement.one_by_one() for cut, models in gpu.servers()]
    if not parts:
        raise UsageError("the placement has no GPU with a model: there is nothing to export")
    labels = unique([_name(gpu, cut) for gpu, cut, _ in parts], dns_label, most=50)
    on_host: dict[str, int] = defaultdict(int)
    servers = []
    for gpu, cut, placed in parts:
        where = real.get(gpu.id)
        host = where.node if where else ""
        port = first_port + 10 * on_host[host]
        on_host[host] += 1
        if port + 2 > 65535:
            raise UsageError(f"the ports from {first_port} on do not suffice for all servers of {host or 'one host'}")
        models = _models(gpu.id, placed, repository)
        called, load = dependencies(models, repository)
        servers.append(
            TritonServer(
                name=labels[_name(gpu, cut)],
                gpu=gpu.id,
                type=gpu.type,
                slice=None if cut is None else cut.position,
                node=gpu.nodes[0] if gpu.nodes else None,
                real=where,
                models=models,
                dependencies=called,
                load=load,
                memory_bytes=gpu.memory_bytes if cut is None else cut.memory_bytes,
                http_port=port,
                grpc_port=port + 1,
                metrics_port=port + 2,
            )
        )
    return ServingPlan(
        placement=placement,
        digest=sha256(placement),
        servers=tuple(servers),
        real=real,
        repository=repository,
        not_expressed=_lacking(servers),
    )


def _name(gpu: PlacedGpu, position: SlicePosition | None) -> str:
    return gpu.id if position is None else f"{gpu.id}-{position.profile}-{position.start}"


def _models(gpu: str, placed: Sequence[PlacedModel], repository: Mapping[str, Model]) -> tuple[ServedModel, ...]:
    """Return the models of one server, with all replicas of one model together."""
    together: dict[str, list[PlacedModel]] = defaultdict(list)
    for model in placed:
        together[model.served].append(model)
    found = []
    for name, parts in together.items():
        first = parts[0]
        if any((part.name, part.variant) != (first.name, first.variant) for part in parts):
            raise UsageError(f"{gpu} has {name} in two configurations, and one server can have it in one only")
        found.append(_served(name, parts, repository))
    return tuple(found)


def _served(name: str, parts: Sequence[PlacedModel], repository: Mapping[str, Model]) -> ServedModel:
    first = parts[0]
    instances = sum(part.instances * part.replicas for part in parts)
    replicas = sum(part.replicas for part in parts)
    known = repository.get(first.name)
    if repository and known is None:
        raise UsageError(f"the plan has {first.name}, which the model repository does not have")
    if known is None:
        config, changed = None, first.variant != "default" or replicas > 1 or name != first.name
    else:
        if known.error:
            raise UsageError(f"{first.name}: {known.error}")
        config, changed = _config(known, name, Variant.named(first.variant), instances if replicas > 1 else None)
    return ServedModel(
        name=name,
        source=first.name,
        variant=first.variant,
        replicas=replicas,
        instances=instances,
        rate_infer_per_s=_sum(part.rate_infer_per_s for part in parts),
        throughput_infer_per_s=_sum(part.throughput_infer_per_s for part in parts),
        memory_bytes=sum(part.memory_bytes for part in parts),
        latency_p99_s=first.latency_p99_s,
        most_p99_s=first.most_p99_s,
        config=config,
        changed=changed,
    )


def _sum(values: Iterable[float | None]) -> float | None:
    known = list(values)
    return None if None in known else sum(value for value in known if value is not None)


def _config(model: Model, name: str, variant: Variant, instances: int | None) -> tuple[str | None, bool]:
    """Return the configuration to serve, and whether it differs from the model's own.

    A model without config.pbtxt that is served as it is keeps doing without.
    """
    if instances is not None:
        variant = replace(variant, instances=instances)
    if model.config is None:
        if variant != Variant() or name != model.name:
            raise UsageError(
                f"{model.name} has no config.pbtxt, so it cannot be served in the planned configuration; write one "
                "(Triton prints what it completes at /v2/models/NAME/config)"
            )
        return None, False
    config: dict[str, Any] = variant_config(model.config, variant) if variant != Variant() else dict(model.config)
    config["name"] = name
    if "instance_group" in config:  # the server sees one GPU, which is number 0 there
        config["instance_group"] = [
            {**group, "gpus": [0]} if group.get("gpus") else group for group in config["instance_group"]
        ]
    return config_text(config), config != model.config


def dependencies(
    models: Sequence[ServedModel], repository: Mapping[str, Model]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the models of the repository that come besides, and what is loaded in which order."""
    needed: dict[str, None] = {}
    load: dict[str, None] = {}
    names = {model.name for model in models}
    for model in models:
        if model.source in repository:
            source = repository[model.source]
            needed |= dict.fromkeys(name for name in all_dependencies(source, repository) if name not in names)
            load |= dict.fromkeys(dependencies_to_load(source, repository))
        load[model.name] = None
    return tuple(needed), tuple(load)


def _lacking(servers: Sequence[TritonServer]) -> tuple[str, ...]:
    lacking = {
        f"{model.name} is planned as {model.variant} with {model.instances} instances, which is not in its "
        "config.pbtxt: give the model repository with `model_folder`"
        for server in servers
        for model in server.models
        if model.changed and model.config is None
    }
    return tuple(sorted(lacking))
