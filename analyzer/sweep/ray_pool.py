"""Workers on the nodes of a Ray cluster: an actor for each device, which runs its worker in a process of its own."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from analyzer.devices.choose import DeviceIdentity, MeasuredDevice, device_of_this_host
from analyzer.errors import ServerError, TritonpackError
from analyzer.sweep.ray_cluster import RayNode, is_alive
from analyzer.sweep.turns import Event, EventKind, PoolWorker
from analyzer.sweep.worker_process import END_TIMEOUT_S, Work, WorkerProcess, end_processes, start_process

LISTEN_S = 2.0  # longest time in an actor before it can be told to stop
WAIT_S = 0.5  # longest time in which Ray does not look at signals
START_TIMEOUT_S = 30.0  # of an actor; a device that another job uses is not waited for
_AWAITED = (EventKind.FREE, EventKind.STORE)
_LAST = (EventKind.ENDED, EventKind.DIED)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RaySlot:
    """A place for a worker on a node.

    Parameters
    ----------
    node : RayNode
    gpu : bool
        Whether it is a GPU, which Ray chooses, or the node itself.
    cores : tuple of int
        Processors that are reserved for it; empty for none.
    """

    node: RayNode
    gpu: bool
    cores: tuple[int, ...] = ()

    def create_actor(self) -> Any:
        """Create an actor on the node, which Ray starts as soon as the device is free."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        return (
            ray.remote(_WorkerActor)
            .options(
                num_gpus=int(self.gpu),
                num_cpus=len(self.cores),
                max_restarts=0,
                max_task_retries=0,
                scheduling_strategy=NodeAffinitySchedulingStrategy(self.node.id, soft=False),
            )
            .remote()
        )


class _WorkerActor:
    """Runs on a node, one for each device: starts the worker's process, and passes on what it says."""

    def __init__(self) -> None:
        vars(sys.modules["__main__"]).pop("__file__", None)  # else each process that is started imports Ray's worker
        self._running: WorkerProcess | None = None

    def device(self) -> tuple[MeasuredDevice, DeviceIdentity] | TritonpackError:
        """Return the GPU that Ray gave to this actor, or the host, and its identity; or why it cannot be used."""
        import ray

        try:
            device = device_of_this_host([str(gpu) for gpu in ray.get_gpu_ids()])
        except TritonpackError as error:
            return error
        return device, device.identity()

    def start(self, worker: Any, work: Work) -> None:
        """Start the worker's process."""
        self._running = start_process(worker, work)

    def exchange(self, *answer: Any) -> list[Event]:
        """Give the process the answer that it waits for, if any; return what it says, after a while even if nothing."""
        assert self._running is not None  # noqa: S101 - started
        if answer:
            self._running.answer(*answer)
        events: list[Event] = []
        while self._running.pipe.poll(0.0 if events else LISTEN_S):
            events.append(self._running.receive())
            if events[-1][0] in _LAST:
                self._running.process.join(END_TIMEOUT_S)
            if events[-1][0] in (*_AWAITED, *_LAST):
                break
        return events

    def stop(self) -> None:
        """End the process; return when it is gone."""
        if self._running is not None:
            end_processes([self._running])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RayWorker(PoolWorker):
    """A worker in a slot of a node; `worker` is sent to its process."""

    slot: RaySlot
    worker: Any


@dataclass(slots=True)
class _Call:
    """A call of an actor that has not returned."""

    worker: RayWorker
    deadline_s: float | None = None


@dataclass(slots=True)
class RayPool:
    """A context manager: a worker on each of the given slots; their processes have ended when it ends.

    Parameters
    ----------
    given : mapping of RayWorker to actor
        Each worker with the actor that `RaySlot.create_actor` returned; None to create it.
    work : callable
        What the workers do; see `analyzer.sweep.parallel.spread`.
    """

    given: dict[RayWorker, Any]
    work: Work
    _actors: dict[RayWorker, Any] = field(default_factory=dict)
    _calls: dict[Any, _Call] = field(default_factory=dict)
    _work: Any = None

    def __enter__(self) -> Self:
        import ray

        self._work = ray.put(self.work)
        for worker, actor in self.given.items():
            self._actors[worker] = actor or worker.slot.create_actor()
            self._start(worker)
        return self

    def __exit__(self, *exc_info: object) -> None:
        starting = {call.worker for call in self._calls.values() if call.deadline_s is not None}
        _stop(
            [actor for worker, actor in self._actors.items() if worker not in starting],
            [actor for worker, actor in self._actors.items() if worker in starting],
        )

    @property
    def workers(self) -> Sequence[RayWorker]:
        """The workers that were started."""
        return tuple(self.given)

    def wait(self) -> Sequence[tuple[RayWorker, Event]]:
        """Return the next events; see `Pool`."""
        import ray

        ready, _ = ray.wait(list(self._calls), num_returns=1, timeout=WAIT_S) if self._calls else ([], [])
        found: list[tuple[RayWorker, Event]] = []
        for ref in ready:
            call = self._calls.pop(ref)
            found += [(call.worker, event) for event in self._take(call, ref)]
        now_s = time.monotonic()
        for ref, call in list(self._calls.items()):
            if call.deadline_s is not None and now_s > call.deadline_s:
                del self._calls[ref]
                ray.kill(self._actors.pop(call.worker))
                found.append((call.worker, (EventKind.DIED, f"did not start within {START_TIMEOUT_S:g} s")))
        return found

    def answer(self, worker: RayWorker, answer: Any) -> None:
        """Answer a worker's last event; see `Pool`."""
        self._exchange(worker, answer)

    def restart(self, worker: RayWorker) -> bool:
        """Start a worker again, with a new actor if the actor is gone; not on a node that is gone; see `Pool`."""
        if worker not in self._actors:
            if not is_alive(worker.slot.node.id):
                return False
            self._actors[worker] = worker.slot.create_actor()
        self._start(worker)
        return True

    def _start(self, worker: RayWorker) -> None:
        call = self._actors[worker].start.remote(worker.worker, self._work)
        self._calls[call] = _Call(worker, time.monotonic() + START_TIMEOUT_S)

    def _exchange(self, worker: RayWorker, *answer: Any) -> None:
        self._calls[self._actors[worker].exchange.remote(*answer)] = _Call(worker)

    def _take(self, call: _Call, ref: Any) -> list[Event]:
        """Return the events that a call returned, and call again unless the worker waits for an answer or has ended."""
        import ray

        try:
            events: list[Event] = ray.get(ref) or []
        except ray.exceptions.RayError as error:
            ray.kill(self._actors.pop(call.worker))
            gone = "its actor ended" if is_alive(call.worker.slot.node.id) else "the node left the cluster"
            return [(EventKind.DIED, f"is lost: {gone} ({type(error).__name__})")]
        if not events or events[-1][0] not in (*_AWAITED, *_LAST):
            self._exchange(call.worker)
        return events


class SlotActors:
    """A context manager: an actor for each slot; those that were not taken have ended when it ends."""

    def __init__(self, slots: Sequence[RaySlot]) -> None:
        self._slots = slots
        self._actors: dict[RaySlot, Any] = {}

    def __enter__(self) -> Self:
        self._actors = {slot: slot.create_actor() for slot in self._slots}
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def devices(self, say: Callable[[str], None]) -> list[tuple[RaySlot, MeasuredDevice, DeviceIdentity]]:
        """Return the device of each slot; say of which slots there is none.

        Raises
        ------
        ServerError
            If there is none at all.
        """
        import ray

        asked = {slot: actor.device.remote() for slot, actor in self._actors.items()}
        ready, _ = ray.wait(list(asked.values()), num_returns=len(asked), timeout=START_TIMEOUT_S)
        found, failures = [], []
        for slot, ref in asked.items():
            try:
                answer = ray.get(ref) if ref in ready else ServerError("a GPU is in use by another job of the cluster")
            except ray.exceptions.RayError as error:
                answer = ServerError(f"an actor does not start ({type(error).__name__})")
            if isinstance(answer, TritonpackError):
                failures.append(f"node {slot.node.name}: {answer.message}")
            else:
                found.append((slot, *answer))
        if not found:
            raise ServerError(failures[0])
        for text in dict.fromkeys(failures):
            times = failures.count(text)
            say(text if times == 1 else f"{text} ({times} times)")
        return found

    def take(self, slot: RaySlot) -> Any:
        """Return the actor of a slot, for the caller to end."""
        return self._actors.pop(slot)

    def stop(self) -> None:
        """End the actors that were not taken, which have started nothing."""
        import ray

        while self._actors:
            ray.kill(self._actors.popitem()[1])


def _stop(running: Sequence[Any], starting: Sequence[Any]) -> None:
    """End actors, and the processes that they started; return when these are gone.

    An actor that is starting may never start, on a node that is gone; it is not waited for long.
    """
    import ray

    for actors, timeout_s in ((running, LISTEN_S + END_TIMEOUT_S), (starting, LISTEN_S)):
        stopping = [actor.stop.remote() for actor in actors]
        if stopping:
            ray.wait(stopping, num_returns=len(stopping), timeout=timeout_s)
        for actor in actors:
            ray.kill(actor)
