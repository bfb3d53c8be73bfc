"""Measure a job on the devices of a Ray cluster: choose nodes, devices and types, and hand out the turns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, cast

from analyzer.devices.choose import DeviceIdentity, MeasuredDevice
from analyzer.errors import ServerError, TritonpackError, UsageError
from analyzer.formats.suggestions import suggest
from analyzer.formats.units import counted, listed
from analyzer.measurements.record import Provenance, ServerOnly
from analyzer.measurements.store import Store
from analyzer.models.backend import backend_to_find
from analyzer.servers import Server
from analyzer.servers.choose import Launch
from analyzer.sweep.backend_check import fit_backends
from analyzer.sweep.job import Job
from analyzer.sweep.observer import Observer
from analyzer.sweep.parallel import Worker, run_variants
from analyzer.sweep.ray_cluster import RayNode, connected, nodes_to_use
from analyzer.sweep.ray_nodes import NodeActors, NodeFacts, RepositorySource
from analyzer.sweep.ray_pool import RayPool, RaySlot, RayWorker, SlotActors
from analyzer.sweep.settings import SweepSettings
from analyzer.sweep.turns import FollowTurns, ResultStore, Turn, hand_out

Say = Callable[[str], None]
_OPTIONS = ("per_node", "per_device_type")  # that are about a cluster alone
_NOT_ON_NODES = ("url", "gpus", "http_port", "grpc_port", "metrics_port")  # options about servers of this host
ALL_TYPES = "all"


class MakeWorker(Protocol):
    """Makes the worker of a device."""

    def __call__(
        self, *, server: Server, device: MeasuredDevice, repository: Path, cores: tuple[int, ...]
    ) -> Worker: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """The devices of a Ray cluster on which a job is measured.

    Parameters
    ----------
    address : str
        See `connected`.
    launch : Launch
        How Triton is started on each node.
    source : RepositorySource
    per_node : int or None
        Most workers on a node; None for one on each GPU, and one on a node without GPUs.
    reserve_cores : int or None
        Processors that each worker has for itself; None if they share those of the node.
    per_device_type : str or None
        ``all`` to measure each type of device on its own, else the name of the one that is used; None if there is only
        one type.
    """

    address: str
    launch: Launch
    source: RepositorySource
    per_node: int | None
    reserve_cores: int | None
    per_device_type: str | None

    def run(self, job: Job, make_worker: MakeWorker, observer: Observer, store: Store, follow: FollowTurns) -> None:
        """Measure each variant once on a device of each type; nothing is left on a node, however it ends.

        Raises
        ------
        UsageError
            If the devices are of several types and none was chosen, or a node has other models.
        ServerError
            If there is no cluster, no node can be used, or a variant was lost twice.
        """
        with connected(self.address), NodeActors(nodes_to_use()) as asked:
            facts = _usable(asked.facts(self.launch), observer.noted)
            job = with_backends_of(facts, job, observer.noted)
            slots = [slot for node in facts for slot in self.slots(node, facts[node], observer.noted)]
            with SlotActors(slots) as actors:
                places = places_by_type(actors.devices(observer.noted), self.per_device_type, store.device_uuids())
                turns = [
                    Turn(number=number, device_type=name)
                    for name in places
                    for number in range(len(job.model_variants))
                ]
                used = [(name, *place) for name in places for place in places[name][: len(job.model_variants)]]
                observer.noted(_summary(used, facts))
                nodes = dict.fromkeys(slot.node for _, slot, _ in used)
                paths = asked.repositories(self.source, nodes)
                for node in nodes.keys() - paths.keys():
                    observer.noted(f"node {node.name} is lost")
                workers = {}
                for name, slot, device in used:
                    if slot.node in paths:
                        server, repository = facts[slot.node].server, paths[slot.node]
                        worker = _ray_worker(name, slot, device, make_worker, server, repository)
                        workers[worker] = actors.take(slot)
                actors.stop()
                with RayPool(workers, partial(run_variants, job)) as pool:
                    hand_out(pool, turns, observer, one_origin(store), follow=follow)

    def slots(self, node: RayNode, facts: NodeFacts, say: Say) -> list[RaySlot]:
        """Return the places for workers on a node; fewer than its GPUs if there are too few processors to reserve."""
        most = min(node.gpus, self.per_node or node.gpus) if node.gpus else self.per_node or 1
        each = self.reserve_cores or 0
        count = min(most, len(facts.cores) // each) if each else most
        if count < most:
            have = counted(len(facts.cores), "processor")
            if not count:
                raise UsageError(f"node {node.name} has {have}, and `reserve_cores={each}` asks for more")
            say(f"node {node.name} has {have}: with {each} for each, {count} of {most} workers run there")
        return [
            RaySlot(node=node, gpu=node.gpus > 0, cores=facts.cores[place * each : (place + 1) * each])
            for place in range(count)
        ]


def _ray_worker(
    device_type: str, slot: RaySlot, device: MeasuredDevice, make_worker: MakeWorker, server: Server, repository: Path
) -> RayWorker:
    return RayWorker(
        name=f"{slot.node.name}: {device.describe()}",
        node=slot.node.id,
        device_type=device_type,
        gpu=slot.gpu,
        slot=slot,
        worker=make_worker(server=server, device=device, repository=repository, cores=slot.cores),
    )


def choose_fleet(settings: SweepSettings, launch: Launch, job: Job, folder: Path | None) -> Fleet | None:
    """Return the fleet that the settings ask for; None if they ask for none.

    Parameters
    ----------
    folder : Path or None
        The model repository on this host, if its path is that of the nodes as well.

    Raises
    ------
    UsageError
        If settings contradict each other.
    """
    if settings.ray is None:
        for name in _OPTIONS:
            if settings.is_given(name):
                raise UsageError(f"`{name}` is about the nodes of a Ray cluster: name it with `ray='auto'`")
        return None
    for name in _NOT_ON_NODES:
        if getattr(settings, name):
            raise UsageError(
                f"`{name}` is about one host, and `ray` measures on all nodes of a cluster: drop one of them"
            )
    return Fleet(
        address=settings.ray,
        launch=replace(launch, follow_pull=None),  # it draws on this host's terminal
        source=RepositorySource(
            folder=folder.resolve() if folder else None,
            uri=settings.model_uri,
            models=job.repository,
            names=[model.name for model in job.models],
            hashes={model.name: model.content_hash for model in job.models},
        ),
        per_node=settings.per_node,
        reserve_cores=settings.reserve_cores,
        per_device_type=settings.per_device_type,
    )


Place = tuple[RaySlot, MeasuredDevice]


def _usable(answers: Mapping[RayNode, NodeFacts | TritonpackError], say: Say) -> dict[RayNode, NodeFacts]:
    """Return what usable nodes said; say of the others why they are left out.

    Raises
    ------
    ServerError
        If none is usable.
    """
    usable: dict[RayNode, NodeFacts] = {}
    for node, answer in answers.items():
        if isinstance(answer, NodeFacts):
            usable[node] = answer
        else:
            say(f"node {node.name} is left out: it {answer.message}")
    if not usable:
        node, answer = next(iter(answers.items()))
        raise ServerError(f"no node can be used; {node.name}: {getattr(answer, 'message', '')}")
    return usable


def with_backends_of(facts: Mapping[RayNode, NodeFacts], job: Job, say: Say) -> Job:
    """Return the job with an error in each model whose backend no node has.

    Raises
    ------
    ServerError
        If nodes would run a model's backend by different programs, whose figures do not make one profile.
    """
    known = [one.backends for one in facts.values()]
    backends = None if any(one is None for one in known) else {name for one in known for name in one or ()}
    first, *others = facts.items()
    for node, other in others:
        if other.own != first[1].own and any(backend_to_find(m) in {*other.own, *first[1].own} for m in job.models):
            by = [
                f"{', '.join(own.values()) or 'their server'} ({name})"
                for name, own in ((first[0].name, first[1].own), (node.name, other.own))
            ]
            raise ServerError(f"nodes would run ONNX models by {listed(by)}: install the same on both")
    marked = fit_backends(job, first[1].server, backends, first[1].own)
    for note in marked.notes[len(job.notes) :]:
        say(note)
    return marked


def places_by_type(
    found: Sequence[tuple[RaySlot, MeasuredDevice, DeviceIdentity]],
    wanted: str | None,
    stored: Mapping[str, Collection[str]],
) -> dict[str, list[Place]]:
    """Return the places by type of device, of those types that are measured, with the UUIDs of those alike.

    Parameters
    ----------
    wanted : str or None
        See `Fleet.per_device_type`.
    stored : mapping of str to collection of str
        UUIDs of devices by their type that the store has figures of: a node that made them may have left the cluster.

    Raises
    ------
    UsageError
        If there are several types and none was chosen, or one that is not there.
    """
    types = Counter(identity.name for _, _, identity in found)
    if wanted is None and len(types) > 1:
        listing = listed([f"{name} ({count})" for name, count in types.items()])
        raise UsageError(
            f"the cluster has devices of {len(types)} types, {listing}, whose figures do not make one profile: measure "
            f"each with `per_device_type='all'`, or one with `per_device_type={next(iter(types))!r}`"
        )
    if wanted not in (None, ALL_TYPES, *types):
        raise UsageError(f"`per_device_type`: the cluster has no {wanted!r}; {suggest(wanted or '', types)}")
    places: dict[str, list[Place]] = {}
    for slot, device, own in found:
        if wanted in (None, ALL_TYPES, own.name):
            same = {one.uuid for _, _, one in found if (one.name, one.memory_bytes) == (own.name, own.memory_bytes)}
            same |= set(stored.get(own.name, ()))  # figures count only with the same memory, driver and server
            place = slot, replace(device, alike=tuple(sorted(same - {own.uuid})))
            places.setdefault(own.name, []).append(place)
    return places


def _summary(used: Sequence[tuple[str, RaySlot, MeasuredDevice]], facts: Mapping[RayNode, NodeFacts]) -> str:
    types = Counter(name for name, _, _ in used)
    nodes = {slot.node for _, slot, _ in used}
    servers = {facts[node].server.describe(): facts[node].why for node in nodes}
    devices = ", ".join(f"{name} ({count})" for name, count in types.items())
    triton = "; ".join(f"{server} ({why})" for server, why in servers.items())
    return f"Ray: {counted(len(nodes), 'node')}, {devices}; Triton: {triton}"


def one_origin(store: Store) -> ResultStore:
    """Return the store, which refuses a worker whose driver or server differs from the first one on such a device.

    Figures of one model on one type of device replace each other where these differ (`Store.measurements`), so that
    those of some variants would be lost.
    """
    return cast(ResultStore, _OneOrigin(store))


class _OneOrigin:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._origins: dict[str, Provenance] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def append_server_only(self, baseline: ServerOnly) -> None:
        """Store the idle server's figures; see `Store`."""
        own = replace(baseline.provenance, device_uuid="")
        first = self._origins.setdefault(own.device_name, own)
        for what, mine, others in (
            ("driver", own.driver, first.driver),
            ("Triton", own.server, first.server),
            ("memory in bytes", own.device_memory_bytes, first.device_memory_bytes),
        ):
            if mine != others:
                raise ServerError(
                    f"its {what} is {mine}, and {others} on another {own.device_name} of the cluster, so that their "
                    "figures do not make one profile: make them alike"
                )
        self._store.append_server_only(baseline)
