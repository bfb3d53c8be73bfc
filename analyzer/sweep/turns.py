"""Hand out turns to the workers of a pool, pass on what they report, and try a turn whose worker died once more.

A turn is a piece of work that is done on one device, such as all trials of a variant of a model. Workers are processes
of this host (`analyzer.sweep.parallel`) or of a cluster (`analyzer.sweep.ray_pool`); what they measure arrives here as
events, and only this process writes to the store.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, Protocol, TypeVar

from analyzer.errors import ServerError, StoreError, TritonpackError
from analyzer.measurements.co_location import CoLocation
from analyzer.measurements.record import Measurement, Provenance, ServerOnly, Trial


class ResultStore(Protocol):
    """What a worker does with the store: `Store`, and its stand-in in another process; see `Store` for each."""

    def find(
        self, trial: Trial, provenance: Provenance, *, settings: str = "", alike: Sequence[str] = ()
    ) -> Measurement | None: ...

    def append(self, measurement: Measurement, *, settings: str = "") -> None: ...

    def append_server_only(self, baseline: ServerOnly) -> None: ...

    def append_co_location(self, found: CoLocation) -> None: ...


class EventKind(StrEnum):
    """What a worker says; after `FREE` and `STORE` it waits for an answer."""

    FREE = "free"  # it wants the number of a turn; the answer None ends it
    STORE = "store"  # a call of the store: (name, arguments, keywords); the answer is what it returns or raises
    OBSERVED = "observed"  # a call of the observer: (name, arguments, keywords)
    ENDED = "ended"  # it has ended in order: the TritonpackError for which it did, or None
    DIED = "died"  # it is gone, for this reason (text)


Event = tuple[EventKind, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A piece of work.

    Parameters
    ----------
    number : int
        What the work is called by.
    device_type : str
        It is done by a worker on a device of this type.
    """

    number: int
    device_type: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PoolWorker:
    """A worker of a pool.

    Parameters
    ----------
    name : str
        The worker's device, and its node where there are several, for people.
    node : str
        Unique name of its host.
    device_type : str
        Only turns of this type are handed to it.
    gpu : bool
        Whether its device is a GPU.
    """

    name: str
    node: str = ""
    device_type: str = ""
    gpu: bool = False


P = TypeVar("P", bound=PoolWorker)


class Pool(Protocol[P]):
    """Workers that run somewhere: `ProcessPool`, `RayPool`."""

    @property
    def workers(self) -> Sequence[P]:
        """The workers that were started."""

    def wait(self) -> Sequence[tuple[P, Event]]:
        """Return the next events, in the order of each worker; empty after a while without one."""

    def answer(self, worker: P, answer: Any) -> None:
        """Answer a worker's last event, of a kind that waits for it."""

    def restart(self, worker: P) -> bool:
        """Start a worker again that ended or died; return whether that can be tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnCount:
    """How far the turns are.

    Parameters
    ----------
    done, total : int
    workers, gpus, nodes : int
        Workers that have not ended, those of them on a GPU, and the hosts that they run on.
    """

    done: int
    total: int
    workers: int
    gpus: int
    nodes: int


FollowTurns = Callable[[TurnCount], None]


@dataclass(slots=True, eq=False)
class _Attempts:
    """A turn, the worker that it was lost with, and what was passed on of it before that."""

    turn: Turn
    lost_with: PoolWorker | None = None
    passed: list[tuple[str, Any]] = field(default_factory=list)


def hand_out(
    pool: Pool[P],
    turns: Sequence[Turn],
    observer: object,
    store: ResultStore,
    *,
    follow: FollowTurns = lambda _count: None,
) -> None:
    """Do each turn on the next worker of its type that is free.

    A turn whose worker dies or fails is tried once more, on another worker if there is one. What the observer was told
    of it before is not repeated.

    Parameters
    ----------
    observer : object
        Its methods are called as the workers call them; `noted` or `said` receives the loss of a worker.
    follow : callable, optional
        Is told how far the turns are whenever that changes.

    Raises
    ------
    TritonpackError
        If a turn was lost twice, or no worker is left for one; the others are done before.
    """
    _Turns(pool, turns, observer, store, follow).run()


class _Turns(Generic[P]):
    def __init__(
        self, pool: Pool[P], turns: Sequence[Turn], observer: object, store: ResultStore, follow: FollowTurns
    ) -> None:
        self._pool = pool
        self._waiting = [_Attempts(turn) for turn in turns]
        self._busy: dict[P, _Attempts] = {}
        self._idle: list[P] = []
        self._workers = list(pool.workers)
        self._starting = set(self._workers)  # those that have not asked for a turn yet
        self._observer = observer
        self._store = store
        self._follow = follow
        self._done, self._total = 0, len(turns)
        self._failures: list[TritonpackError] = []  # of workers
        self._lost: TritonpackError | None = None  # of the first turn that is given up

    def run(self) -> None:
        """Take events until all turns are done, and the workers that took part have ended."""
        self._tell()
        while self._workers and (self._waiting or self._busy or not self._starting.issuperset(self._workers)):
            for worker, event in self._pool.wait():
                self._receive(worker, *event)
            self._assign()
        if self._lost is not None:
            raise self._lost
        if self._waiting:
            raise self._failures[0] if self._failures else ServerError("no device is left to measure on")

    def _receive(self, worker: P, kind: EventKind, content: Any) -> None:
        match kind:
            case EventKind.FREE:
                if self._busy.pop(worker, None) is not None:
                    self._done += 1
                    self._tell()
                self._idle.append(worker)
                self._starting.discard(worker)
            case EventKind.STORE:
                self._pool.answer(worker, self._call_store(*content))
            case EventKind.OBSERVED:
                self._pass_on(worker, *content)
            case EventKind.ENDED if content is None:
                self._workers.remove(worker)
            case EventKind.ENDED:
                self._lose(worker, type(content)(f"{worker.name}: {content.message}"))
            case EventKind.DIED:
                self._lose(worker, ServerError(f"the work on {worker.name} {content}"))

    def _call_store(self, name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Any, TritonpackError | None]:
        """Return what the store returns, or a refusal for the worker that asked.

        Raises
        ------
        StoreError
            If the store takes nothing more, which ends all workers.
        """
        try:
            return getattr(self._store, name)(*args, **kwargs), None
        except StoreError:
            raise
        except TritonpackError as error:
            return None, error

    def _pass_on(self, worker: P, name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        attempts = self._busy.get(worker)
        if attempts is not None:
            if attempts.lost_with is not None and (name, args) in attempts.passed:
                return
            attempts.passed.append((name, args))
        getattr(self._observer, name)(*args, **kwargs)

    def _lose(self, worker: P, failure: TritonpackError) -> None:
        """Put the turn of a worker that is gone back, or give it up after the second time."""
        self._failures.append(failure)
        attempts = self._busy.pop(worker, None)
        if worker in self._idle:
            self._idle.remove(worker)
        if attempts is not None and self._pool.restart(worker):
            self._starting.add(worker)
        else:
            self._workers.remove(worker)
        if attempts is None:
            self._say(failure.message)
        elif attempts.lost_with is None:
            attempts.lost_with = worker
            self._waiting.insert(0, attempts)
            self._say(f"{failure.message}; what it measured is tried once more")
        else:
            self._lost = self._lost or failure
            self._say(f"{failure.message}; it was the second try")
        self._tell()

    def _assign(self) -> None:
        """Give each idle worker a turn; end it once no turn of its type can come to it any more."""
        for worker in list(self._idle):
            attempts = next((one for one in self._waiting if self._may_take(worker, one)), None)
            if attempts is not None:
                self._waiting.remove(attempts)
                self._busy[worker] = attempts
                self._idle.remove(worker)
                self._pool.answer(worker, attempts.turn.number)
        for worker in list(self._idle):
            open_turns = [*self._waiting, *self._busy.values()]
            if not any(one.turn.device_type == worker.device_type for one in open_turns):
                self._idle.remove(worker)
                self._pool.answer(worker, None)

    def _may_take(self, worker: P, attempts: _Attempts) -> bool:
        """Whether a worker may take a turn: one that it lost itself only if there is no other worker for it."""
        if attempts.turn.device_type != worker.device_type:
            return False
        others = (one for one in self._workers if one is not worker and one.device_type == worker.device_type)
        return attempts.lost_with is not worker or not any(others)

    def _say(self, text: str) -> None:
        say = getattr(self._observer, "noted", None) or getattr(self._observer, "said", None)
        if say is not None:
            say(text)

    def _tell(self) -> None:
        self._follow(
            TurnCount(
                done=self._done,
                total=self._total,
                workers=len(self._workers),
                gpus=sum(worker.gpu for worker in self._workers),
                nodes=len({worker.node for worker in self._workers}),
            )
        )
