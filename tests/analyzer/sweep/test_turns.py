"""Test the handing out of turns on scripted workers: types of devices, waiting for others, and losses."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, cast

import pytest

from analyzer.errors import ServerError
from analyzer.measurements.store import Store
from analyzer.sweep.turns import Event, EventKind, PoolWorker, Turn, hand_out

NO_STORE = cast(Store, None)
FREE: Event = (EventKind.FREE, None)
DIED: Event = (EventKind.DIED, "was killed")


class ScriptedPool:
    """Workers that ask for a turn at once, and die in the turns that are named for them."""

    def __init__(
        self, workers: Sequence[PoolWorker], deadly: dict[PoolWorker, set[int]], *, restarts: bool = False
    ) -> None:
        self.workers = workers
        self.given: list[tuple[str, int | None]] = []
        self._deadly = deadly
        self._restarts = restarts
        self._events: deque[tuple[PoolWorker, Event]] = deque((worker, FREE) for worker in workers)

    def wait(self) -> Sequence[tuple[PoolWorker, Event]]:
        """Return the next event; a test that waits for none would never end."""
        return [self._events.popleft()]

    def answer(self, worker: PoolWorker, answer: Any) -> None:
        """Note a turn; the worker then dies in it, is free again, or ends."""
        self.given.append((worker.name, answer))
        if answer is None:
            event: Event = (EventKind.ENDED, None)
        else:
            event = DIED if answer in self._deadly.get(worker, ()) else FREE
        self._events.append((worker, event))

    def restart(self, worker: PoolWorker) -> bool:
        """Start the worker again, if this pool does that."""
        if self._restarts:
            self._events.append((worker, FREE))
        return self._restarts


class Notes:
    """An observer of nothing but notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def noted(self, text: str) -> None:
        """Keep a note."""
        self.notes.append(text)


ONE, TWO = (PoolWorker(name=name, node=name, device_type="T4") for name in ("one", "two"))
OTHER = PoolWorker(name="other", node="one", device_type="A10")


def turns(*, t4: int, a10: int = 0) -> list[Turn]:
    """Make turns of both types; those of the second type have numbers from 100."""
    made = [Turn(number=number, device_type="T4") for number in range(t4)]
    return made + [Turn(number=100 + number, device_type="A10") for number in range(a10)]


def test_workers_get_only_turns_of_their_type() -> None:
    """Two T4s share three turns, and the A10 does its own."""
    pool = ScriptedPool([ONE, OTHER, TWO], {})
    hand_out(pool, turns(t4=3, a10=2), Notes(), NO_STORE)
    done = {name: [n for who, n in pool.given if who == name and n is not None] for name in ("one", "two", "other")}
    assert done == {"one": [0, 2], "two": [1], "other": [100, 101]}


def test_turn_of_a_lost_worker_waits_for_another_of_its_type() -> None:
    """The idle A10 does not get the T4's turn; the other T4, which had no turn left, does."""
    pool = ScriptedPool([ONE, TWO, OTHER], {ONE: {0}})
    observer = Notes()
    hand_out(pool, turns(t4=2, a10=1), observer, NO_STORE)
    assert [n for who, n in pool.given if who == "two"] == [1, 0, None]
    assert observer.notes == ["the work on one was killed; what it measured is tried once more"]


def test_only_worker_of_a_type_tries_its_turn_again_itself() -> None:
    """Where there is no other worker, the one that was started again gets the turn; a second loss is an error."""
    pool = ScriptedPool([ONE], {ONE: {0}}, restarts=True)
    with pytest.raises(ServerError, match="the work on one was killed"):
        hand_out(pool, turns(t4=2), Notes(), NO_STORE)
    assert [n for _, n in pool.given] == [0, 0, 1, None]


def test_a_pool_without_workers_is_an_error() -> None:
    """Where all nodes were lost before any worker started, that is said."""
    with pytest.raises(ServerError, match="no device is left to measure on"):
        hand_out(ScriptedPool([], {}), turns(t4=1), Notes(), NO_STORE)


def test_turns_without_a_worker_are_an_error() -> None:
    """When the last T4 is gone, the A10 still does its turns, and the loss is raised."""
    pool = ScriptedPool([ONE, OTHER], {ONE: {0}})
    with pytest.raises(ServerError, match="the work on one was killed"):
        hand_out(pool, turns(t4=3, a10=2), Notes(), NO_STORE)
    assert [n for who, n in pool.given if who == "other"] == [100, 101, None]
