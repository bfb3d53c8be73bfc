"""Find out whether several Tritons answer at one address, as behind a load balancer: figures of them mean nothing.

Each server counts its own requests. What is counted never falls on one server, except for a model that is loaded
anew, whose counts begin at zero. Read in turns from several servers, the counts, and the nanoseconds that the
requests took, rise and fall, whatever others send meanwhile.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from itertools import pairwise
from typing import Any

from analyzer.errors import AccessError, ModelError, SeveralServersError
from analyzer.servers.address import ServerAddress
from analyzer.servers.health import loaded_models
from analyzer.servers.transports import open_transport

_READS = 32  # two servers, each at random, show fewer than two falls in 32 readings once in 780,000 times
_FALLS = 2  # a model that others load anew, or unload, once meanwhile is one fall
_TIMEOUT_S = 5.0
_UNLOAD_TIMEOUT_S = 15.0
_PAUSE_S = 0.1

Reading = Mapping[str, Sequence[int]]  # what a server counts for each model that it has loaded; it only rises


def check_single_server(address: ServerAddress) -> None:
    """Read what the models at an address count, over several connections; return if one server can have counted it.

    Raises
    ------
    SeveralServersError
        If several servers answer.
    """
    model = falling_model([_read(address) for _ in range(_READS)])
    if model is not None:
        raise SeveralServersError(
            several(address, f"the counts of {model} rise and fall from one connection to the next")
        )


def several(address: ServerAddress, seen: str) -> str:
    """Return the message for an address at which several servers answer."""
    return (
        f"several Tritons answer at {address} ({seen}), and figures of several servers are of none of them: give the "
        "address of one of them with `url`, such as that of one pod"
    )


def falling_model(readings: Sequence[Reading]) -> str | None:
    """Return a model whose counts fell, or which was gone, more often than one reload explains; None if there is none.

    Parameters
    ----------
    readings : sequence of mapping
        In the order of time.
    """
    falls: Counter[str] = Counter()
    for before, after in pairwise(readings):
        falls.update(name for name, counts in before.items() if _fell(counts, after.get(name)))
    return next((name for name, number in falls.items() if number >= _FALLS), None)


def loaded_everywhere(address: ServerAddress, name: str) -> bool:
    """Whether a model that was just loaded at an address is loaded there, over each of several connections."""
    return falling_model([dict.fromkeys(_loaded(address) & {name}, ()) for _ in range(_READS)]) is None


def unload_everywhere(address: ServerAddress, name: str) -> None:
    """Unload a model at an address where several servers answer; return when none of them has it, or gives it up."""
    deadline = time.monotonic() + _UNLOAD_TIMEOUT_S
    while time.monotonic() < deadline:
        for _ in range(_READS):  # each goes to another server, or to any
            with closing(open_transport(address, timeout_s=_TIMEOUT_S)) as transport:
                transport.unload(name, dependents=True)
        if not any(name in _loaded(address) for _ in range(_READS)):
            return
        time.sleep(_PAUSE_S)


def _fell(before: Sequence[int], after: Sequence[int] | None) -> bool:
    return after is None or any(later < count for count, later in zip(before, after, strict=True))


def _read(address: ServerAddress) -> Reading:
    """Read the counts of all models over a new connection."""
    with closing(open_transport(address, timeout_s=_TIMEOUT_S)) as transport:
        try:
            found = transport.statistics()
        except (ModelError, AccessError):  # its statistics are off, or restricted
            return {}
    return {f"{each.get('name')} version {each.get('version')}": _counts(each) for each in found}


def _counts(statistics: Mapping[str, Any]) -> tuple[int, ...]:
    times = statistics.get("inference_stats", {})
    parts = [times.get(part, {}) for part in ("success", "fail", "queue", "compute_infer")]
    own = tuple(int(statistics.get(count, 0)) for count in ("inference_count", "execution_count"))
    return own + tuple(int(part.get(unit, 0)) for part in parts for unit in ("count", "ns"))


def _loaded(address: ServerAddress) -> set[str]:
    with closing(open_transport(address, timeout_s=_TIMEOUT_S)) as transport:
        return loaded_models(transport.index())
