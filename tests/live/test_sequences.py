"""Test sequences on a real Triton with models that keep the state of each id, and forget none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from analyzer.load.workload import Workload
from analyzer.servers.local import Installation, LocalServer
from tests.builders.model_repositories import write_model
from tests.conftest import missing
from tests.live.bench import Bench, bench_on

BATCHING = "sequence_batching { oldest { max_candidate_sequences: 16 } }\n"
TEXT_IDS = """sequence_batching { oldest { max_candidate_sequences: 16 } control_input [
  { name: "ID" control [{ kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_STRING }] } ] }
"""
# As a model with a state of its own: an id may start once, and its other requests need that start.
CHECK_IDS = """
            key, flags = request.correlation_id(), request.flags()
            steps = self.__dict__.setdefault("steps", {})
            print(key, flags, file=open(LOG, "a"))
            if flags & 1 and key in steps: raise ValueError("Can't start a new sequence with existing ID")
            if not flags & 1 and key not in steps: raise ValueError("Need START flag for a new ID")
            steps[key] = steps.get(key, 0) + 1
            if FAILS and len(steps) % 3 == 0 and steps[key] == 5: raise ValueError("the fifth step")
"""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Serve models that check the ids of sequences, and write them to a file beside the repository."""
    if Installation.find() is None:
        missing("no tritonserver here: pip install 'tritonpack[local]'")
    repository = tmp_path_factory.mktemp("sequences") / "models"
    for name, fails, batching in (("checks", 0, BATCHING), ("fails", 1, BATCHING), ("text_ids", 0, TEXT_IDS)):
        execute = CHECK_IDS.replace("LOG", repr(str(log_of(repository, name)))).replace("FAILS", str(fails))
        write_model(repository, name, execute=execute.strip())
        with (repository / name / "config.pbtxt").open("a") as config:
            config.write(batching)
    with bench_on(LocalServer(), repository) as made:
        yield made


def log_of(repository: Path, name: str) -> Path:
    """Return the file with the ids and flags of every request that a model got."""
    return repository.parent / f"{name}.log"


def flags_by_id(log: Path) -> dict[str, list[int]]:
    """Return the flags of each sequence's requests in order: 1 for the start, 2 for the end."""
    by_id: dict[str, list[int]] = {}
    for line in log.read_text().splitlines():
        key, flags = line.rsplit(" ", 1)
        by_id.setdefault(key, []).append(int(flags))
    return by_id


@pytest.mark.parametrize("name", ["checks", "text_ids"])
def test_ids_are_unique_over_connections_transports_and_trials(bench: Bench, name: str) -> None:
    """A model that forgets no id serves one load after another, and every sequence that it saw begin has ended.

    A connection's sequences all had the same id, as the next trial's had, and the last was never ended. A text as id
    was sent as a number, of which Triton made a tensor of a wrong length.
    """
    model = bench.load_model(name)
    for protocol in ("http", "grpc"):
        for shared_memory in (False, True):
            workload = Workload(protocol=protocol, shared_memory=shared_memory, sequence_length=7)
            sent = bench.send(model, workload, concurrency=4)
            assert (sent.errors, sent.first_error) == (0, ""), (protocol, shared_memory)
            assert sent.completed > 4 * 7
    for flags in flags_by_id(log_of(bench.repository, name)).values():
        assert flags == [1, *[0] * (len(flags) - 2), 2]
        assert len(flags) <= 7


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_sequence_is_ended_after_an_error(bench: Bench, protocol: str) -> None:
    """After the error of its fifth step, a sequence gets its end as the sixth; no other error follows from it."""
    model, log = bench.load_model("fails"), log_of(bench.repository, "fails")
    log.unlink(missing_ok=True)
    sent = bench.send(model, Workload(protocol=protocol, sequence_length=9), concurrency=1)
    assert "the fifth step" in sent.first_error
    lengths = Counter(len(flags) for flags in flags_by_id(log).values())
    assert lengths[6] >= sent.errors > 1
    assert lengths[9] > 1
    assert all(flags[-1] == 2 for flags in flags_by_id(log).values())
