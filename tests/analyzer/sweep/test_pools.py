"""Test that turns are handed out alike to processes of this host and to actors of a Ray cluster of three nodes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psutil
import pytest

from analyzer.errors import ServerError, UsageError
from analyzer.measurements.record import Measurement
from analyzer.measurements.store import Store
from analyzer.models.repository import read_repository, select
from analyzer.sweep.parallel import ProcessPool
from analyzer.sweep.ray_cluster import connected, nodes_to_use
from analyzer.sweep.ray_nodes import NodeActors, RepositorySource
from analyzer.sweep.ray_pool import RayPool, RaySlot, RayWorker
from analyzer.sweep.turns import Pool, Turn, TurnCount, hand_out
from tests.builders.model_repositories import write_model
from tests.builders.ray_nodes import RayNodes
from tests.builders.toy_turns import Fate, Followed, ToyWorker, begun, processes, take_turns
from tests.conftest import wait_for

OpenPool = Callable[..., AbstractContextManager[Pool[Any]]]
Fates = Mapping[int, tuple[int, Fate]]
NO_FATES: Fates = MappingProxyType({})


def process_pool(folder: Path, fates: Fates, turn_s: float) -> ProcessPool:
    """Make a pool of three processes."""
    workers = [ToyWorker(name=f"device {i}", folder=folder, fates=dict(fates), turn_s=turn_s) for i in range(3)]
    return ProcessPool(workers, take_turns)


def ray_pool(folder: Path, fates: Fates, turn_s: float) -> RayPool:
    """Make a pool of one actor for each GPU of the cluster."""
    workers = {}
    for node in nodes_to_use():
        toy = ToyWorker(name=node.name, folder=folder, fates=dict(fates), turn_s=turn_s)
        slot = RaySlot(node=node, gpu=True)
        workers[RayWorker(name=node.name, node=node.id, gpu=True, slot=slot, worker=toy)] = None
    return RayPool(workers, take_turns)


@pytest.fixture(scope="module")
def cluster(ray_cluster: RayNodes) -> Iterator[RayNodes]:
    """Connect this process to the cluster."""
    with connected(ray_cluster.address):
        yield ray_cluster


@pytest.fixture(params=["processes", pytest.param("ray", marks=pytest.mark.ray)])
def open_pool(request: pytest.FixtureRequest) -> OpenPool:
    """Return a function that makes a pool of three workers, of either kind."""
    if request.param == "processes":
        return process_pool
    request.getfixturevalue("cluster")
    return ray_pool


@dataclass
class Outcome:
    """What came of handing out turns."""

    folder: Path
    observer: Followed
    stored: tuple[Measurement, ...]
    counts: list[TurnCount]
    error: ServerError | None

    def tries(self) -> dict[int, int]:
        """Return how often each turn was begun."""
        return {int(file.name): len(begun(self.folder, int(file.name))) for file in self.folder.iterdir()}

    def told(self) -> list[str]:
        """Return the models that the observer was told of, sorted."""
        return sorted(one.trial.model for one in self.observer.measurements)


def run(
    open_pool: OpenPool,
    tmp_path: Path,
    turns: int,
    fates: Fates = NO_FATES,
    *,
    turn_s: float = 0.0,
    store: type[Store] = Store,
) -> Outcome:
    """Hand out turns to three workers, and check that their processes are gone after that."""
    folder = tmp_path / "turns"
    folder.mkdir()
    observer, counts, error = Followed(), [], None
    with store.open(tmp_path / "store.sqlite") as opened:
        try:
            with open_pool(folder, fates, turn_s) as pool:
                hand_out(pool, [Turn(number=i) for i in range(turns)], observer, opened, follow=counts.append)
        except ServerError as raised:
            error = raised
        stored = opened.measurements()
    assert not [pid for pid in processes(folder) if psutil.pid_exists(pid)]
    return Outcome(folder, observer, stored, counts, error)


def models(turns: int) -> list[str]:
    """Return the names of the models of turns, sorted."""
    return sorted(f"m{number}" for number in range(turns))


def test_each_turn_is_done_once_and_this_process_writes_the_store(open_pool: OpenPool, tmp_path: Path) -> None:
    """All three workers take turns of 0.4 s; each turn is begun, told and stored once, and counted."""
    done = run(open_pool, tmp_path, 12, turn_s=0.4)  # long enough for a worker that starts late
    assert done.tries() == dict.fromkeys(range(12), 1)
    assert done.told() == models(12) == sorted(one.trial.model for one in done.stored)
    assert len({name for number in range(12) for name, _ in begun(done.folder, number)}) == 3
    assert [count.done for count in done.counts] == list(range(13))
    assert {(count.total, count.workers) for count in done.counts} == {(12, 3)}
    assert (done.error, done.observer.notes) == (None, [])


def test_turn_of_a_killed_worker_is_done_once_more_elsewhere(open_pool: OpenPool, tmp_path: Path) -> None:
    """What the first try measured is found in the store, and told once; the worker is started again."""
    done = run(open_pool, tmp_path, 9, {4: (1, Fate.KILLED)}, turn_s=0.1)
    assert done.error is None
    assert done.tries() == dict.fromkeys(range(9), 1) | {4: 2}
    (first, _), (second, _) = begun(done.folder, 4)
    assert first != second
    assert done.told() == models(9)
    assert done.observer.found == []
    (note,) = done.observer.notes
    assert note == f"the work on {first} was killed by SIGKILL; what it measured is tried once more"
    assert done.counts[-1].workers == 3


@pytest.mark.parametrize("fate", [Fate.FAILS, Fate.BUG])
def test_turn_of_a_worker_that_failed_is_done_once_more(open_pool: OpenPool, tmp_path: Path, fate: Fate) -> None:
    """A failure costs one turn as well, which is done again; the note names the worker and the reason."""
    done = run(open_pool, tmp_path, 6, {0: (1, fate)})
    assert done.error is None
    assert done.tries() == dict.fromkeys(range(6), 1) | {0: 2}
    (note,) = done.observer.notes
    reason = {Fate.FAILS: "no server starts here", Fate.BUG: "ended with status 1"}[fate]
    assert begun(done.folder, 0)[0][0] in note and reason in note


def test_turn_that_is_lost_twice_fails_after_the_others_are_done(open_pool: OpenPool, tmp_path: Path) -> None:
    """The first failure of the turn is raised at the end; all other turns are done once."""
    done = run(open_pool, tmp_path, 8, {2: (9, Fate.KILLED)})
    assert done.tries() == dict.fromkeys(range(8), 1) | {2: 2}
    assert done.error is not None
    assert "was killed by SIGKILL" in done.error.message
    assert [note.rpartition("; ")[2] for note in done.observer.notes] == [
        "what it measured is tried once more",
        "it was the second try",
    ]
    assert done.counts[-1].done == 7


class Refusing(Store):
    """A store that refuses one measurement."""

    def append(self, measurement: Measurement, *, settings: str = "") -> None:
        """Refuse m1."""
        if measurement.trial.model == "m1":
            raise ServerError("it differs")
        super().append(measurement, settings=settings)


def test_refusal_of_the_store_is_raised_where_the_worker_asked(open_pool: OpenPool, tmp_path: Path) -> None:
    """A worker gets the refusal as an exception, and goes on."""
    done = run(open_pool, tmp_path, 3, store=Refusing)
    assert done.observer.notes == ["refused: it differs"]
    assert sorted(one.trial.model for one in done.stored) == ["m0", "m2"]
    assert done.error is None


def test_interrupt_ends_workers_in_the_middle_of_their_turns(open_pool: OpenPool, tmp_path: Path) -> None:
    """When the caller is interrupted, no process of a worker is left on return, which takes less than 5 s."""

    def pids() -> set[int]:
        return {pid for file in tmp_path.glob("[0-9]*") for _, pid in begun(tmp_path, int(file.name))}

    def interrupt(count: TurnCount) -> None:
        if count.done >= 3 and len(pids()) == 3:  # every worker is in the middle of a turn
            raise KeyboardInterrupt

    with (
        Store.open(tmp_path / "store.sqlite") as store,
        pytest.raises(KeyboardInterrupt),
        open_pool(tmp_path, NO_FATES, 0.1) as pool,
    ):
        hand_out(pool, [Turn(number=i) for i in range(50)], Followed(), store, follow=interrupt)
    assert not [pid for pid in pids() if psutil.pid_exists(pid)]


@pytest.mark.ray
def test_node_with_another_model_is_named(cluster: RayNodes, repository: Path, tmp_path: Path) -> None:
    """Nodes that find the driver's models return their folder; one that fetches others is refused by its name."""
    copy = tmp_path / "copy"
    for folder in (repository, copy):
        write_model(folder, "m", execute="pass" if folder is copy else "x = x")
    models = select(read_repository(repository))
    source = RepositorySource(
        folder=repository,
        uri=None,
        models={model.name: model for model in models},
        names=["m"],
        hashes={model.name: model.content_hash for model in models},
    )
    nodes = nodes_to_use()[:2]
    with NodeActors(nodes) as asked:
        assert asked.repositories(source, nodes) == dict.fromkeys(nodes, repository)
        with pytest.raises(UsageError) as caught:
            asked.repositories(replace(source, uri=f"file://{copy}"), nodes[1:])
    assert caught.value.message.startswith(f"node {nodes[1].name} has another m in ")


@pytest.mark.ray
def test_sixty_turns_survive_the_loss_of_a_node(cluster: RayNodes, tmp_path: Path) -> None:
    """Of four nodes one is killed in the middle of 60 turns: its turn is done elsewhere, and each is stored once."""
    extra = cluster.add("Tesla T4")
    lost = {node.id: node.name for node in nodes_to_use()}[extra.node_id]

    killing = threading.Thread(target=cluster.kill, args=(extra,))
    folder = tmp_path / "turns"
    folder.mkdir()
    observer, counts = Followed(), []

    def follow(count: TurnCount) -> None:
        counts.append(count)
        if count.done == 25 and killing.ident is None:
            killing.start()

    with Store.open(tmp_path / "store.sqlite") as store:
        with ray_pool(folder, NO_FATES, 0.1) as pool:
            hand_out(pool, [Turn(number=i) for i in range(60)], observer, store, follow=follow)
        stored = store.measurements()
    tries = {number: begun(folder, number) for number in range(60)}
    again = [number for number, each in tries.items() if len(each) > 1]
    assert len(again) <= 1  # none if the node was lost between two turns
    assert all(tries[n][0][0] == lost and tries[n][1][0] != lost for n in again)
    assert sorted(one.trial.model for one in stored) == models(60)
    assert sorted(one.trial.model for one in observer.measurements) == models(60)
    # one that was killed when its figures were stored, and before it said so, has them found in the store
    assert {one.trial.model for one in observer.found} <= {f"m{number}" for number in again}
    assert counts[0].nodes == 4
    assert [note for note in observer.notes if f"the work on {lost} is lost" in note]
    wait_for(lambda: not any(psutil.pid_exists(pid) for pid in processes(folder)), "the lost node's process ends")
