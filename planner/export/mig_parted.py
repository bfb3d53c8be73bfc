"""Export the MIG geometries of a plan for nvidia-mig-parted, and so for the MIG manager of NVIDIA's GPU Operator.

The file follows mig-parted's api/spec/v1. Applying it: `nvidia-mig-parted apply -f config.yaml -c NAME`, or the label
``nvidia.com/mig.config`` of a node.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from typing import Any

from analyzer.errors import UsageError
from planner.export.files import Export, ExportFile
from planner.export.hosts import one_host
from planner.export.inventory import RealGpu
from planner.export.serving import ServingPlan
from planner.export.settings import ExportSettings
from planner.export.yaml_text import yaml_text
from planner.inputs.gpu_catalogue import catalogue
from planner.inputs.mig_geometry import boards, placements_of
from planner.placement.placed_gpu import PlacedGpu

_KEY = "config.yaml"  # the key that the MIG manager reads in its ConfigMap


def export(plan: ServingPlan, settings: ExportSettings) -> Export:
    """Return the configuration, the ConfigMap that holds it, and the labels of the nodes."""
    facts: list[str] = [*one_host(plan)]
    configs: dict[str, list[dict[str, Any]]] = {}
    name_of_node: dict[str, str] = {}
    for node, gpus in plan.gpus_by_host().items():
        config = _node_config(plan, gpus, facts)
        name = next((known for known, other in configs.items() if other == config), None)
        if name is None:
            name = f"plan-{plan.digest[:8]}-{len(configs)}"
            configs[name] = config
        name_of_node[node] = name
    if not any(entry["mig-enabled"] for config in configs.values() for entry in config):
        raise UsageError("the plan has no GPU that is cut into MIG slices: there is nothing for mig-parted to do")
    text = yaml_text(plan.header("mig-parted"), {"version": "v1", "mig-configs": configs})
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"mig-parted-plan-{plan.digest[:8]}", "namespace": settings.namespace},
        "data": {_KEY: text},
    }
    labels = "".join(
        f"kubectl label node {shlex.quote(node)} nvidia.com/mig.config={name} --overwrite\n"
        for node, name in name_of_node.items()
        if node
    )
    files = [
        ExportFile(path=_KEY, text=text),
        ExportFile(path="configmap.yaml", text=yaml_text(plan.header("mig-parted"), config_map)),
    ]
    if labels:
        script = f"#!/bin/sh\n{plan.header('mig-parted')}set -e\n{labels}"
        files.append(ExportFile(path="label-nodes.sh", text=script, executable=True))
    return Export(
        files=tuple(files),
        not_expressed=tuple(dict.fromkeys(facts)),
        usage=tuple(f"nvidia-mig-parted apply -f {_KEY} -c {name}" for name in configs),
    )


def _node_config(
    plan: ServingPlan, gpus: Sequence[tuple[PlacedGpu, RealGpu | None]], facts: list[str]
) -> list[dict[str, Any]]:
    """Return the entries of one node: GPUs with the same slices in one."""
    devices: dict[tuple[tuple[str, int], ...], list[int]] = {}
    indexed = any(real is not None and real.index is not None for _, real in gpus)
    for number, (gpu, real) in enumerate(gpus):
        if real is None or real.index is None:
            if indexed:
                raise UsageError(f"the inventory has no index of {gpu.id}, and has one of others of its node: give all")
            facts.append(f"{gpu.id} is taken to be number {number} of its node: give its index with `inventory`")
        slices = tuple(sorted(_slices(plan, gpu, facts).items()))
        devices.setdefault(slices, []).append(number if real is None or real.index is None else real.index)
    return [
        {"devices": sorted(numbers), "mig-enabled": bool(slices), **({"mig-devices": dict(slices)} if slices else {})}
        for slices, numbers in sorted(devices.items(), key=lambda entry: min(entry[1]))
    ]


def _slices(plan: ServingPlan, gpu: PlacedGpu, facts: list[str]) -> Counter[str]:
    """Return how many slices of each profile a GPU has; note where that leaves open at which places they are."""
    if gpu.geometry is None:
        return Counter()
    profiles = [cut.profile for cut in gpu.geometry.slices]
    in_use = next((t for t in plan.placement.gpu_types if t.type == gpu.type), None)
    known = catalogue().get(gpu.type)
    board = boards().get((in_use.mig if in_use else None) or (known.mig if known else None) or "")
    if board is not None:
        legal = placements_of(board, profiles)
        if not legal:
            raise UsageError(f"{gpu.id} is a {gpu.type}, which cannot be cut into {' + '.join(profiles)}")
        starts = tuple(sorted((cut.start, cut.profile) for cut in gpu.geometry.slices))
        if starts not in [tuple((cut.start, cut.profile) for cut in geometry) for geometry in legal]:
            raise UsageError(f"{gpu.id} has slices at {starts}, where a {gpu.type} cannot have them")
        if len(legal) > 1:
            cut = " + ".join(profiles)
            facts.append(f"mig-parted takes counts of slices: the driver chooses where {cut} are on a {gpu.type}")
    return Counter(profiles)
