"""Hosts of a plan: the folder of each in an export, and which GPU each of its servers sees.                  [pure]"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from planner.export.names import dns_label, unique
from planner.export.serving import ServingPlan, TritonServer


@dataclass(frozen=True, slots=True, kw_only=True)
class VisibleGpu:
    """The UUID or number of a server's GPU, and why it is not sure; None where it is not known."""

    gpu: str | None
    doubt: str = ""


def visible_gpus(servers: Sequence[TritonServer], way_out: Callable[[TritonServer], str]) -> list[VisibleGpu]:
    """Return what each server of a host sees; a GPU without a UUID by its number there, a slice not at all.

    Parameters
    ----------
    way_out : callable
        Says what may be done for a server of a slice that has no UUID.
    """
    numbers = {gpu: k for k, gpu in enumerate(dict.fromkeys(server.gpu for server in servers))}
    found = []
    for server in servers:
        if server.uuid is not None:
            found.append(VisibleGpu(gpu=server.uuid))
        elif server.slice is not None:
            where = f"the slice {server.slice.profile} at {server.slice.start} of {server.gpu}"
            doubt = f"{where} has no UUID yet: give it with `inventory`, or {way_out(server)}"
            found.append(VisibleGpu(gpu=None, doubt=doubt))
        else:
            known = server.real.index if server.real else None
            number = numbers[server.gpu] if known is None else known
            doubt = f"{server.gpu} has no UUID and is taken to be number {number} of its host: give it with `inventory`"
            found.append(VisibleGpu(gpu=str(number), doubt=doubt))
    return found


def host_folders(plan: ServingPlan) -> dict[str, str]:
    """Return the folder of each host, ending with ``/``; empty where there is one host."""
    hosts = plan.hosts()
    if len(hosts) == 1:
        return dict.fromkeys(hosts, "")
    return {host: f"{label}/" for host, label in unique(hosts, dns_label).items()}


def one_host(plan: ServingPlan) -> tuple[str, ...]:
    """Say that GPUs of different nodes are started on one host, where that is so."""
    nodes = {(server.type, server.node) for server in plan.servers if server.node is not None}
    if len(nodes) < 2 or any(server.real for server in plan.servers):
        return ()
    return (f"the plan has its GPUs on {len(nodes)} nodes, and all are started on one host: give `inventory`",)
