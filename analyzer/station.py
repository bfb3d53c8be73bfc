"""One server on one device with a load generator: where turns of a sweep are run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from analyzer.devices.choose import MeasuredDevice
from analyzer.load.generator import LoadGenerator
from analyzer.measurements.store import Store
from analyzer.rig import Rig
from analyzer.run import Audience, Job, Sweep, Turn
from analyzer.servers import Server
from analyzer.statistics.verdict import Patience


@dataclass(frozen=True, slots=True, kw_only=True)
class Station:
    """What is needed to run a sweep on one device; it can be sent to another process.

    Parameters
    ----------
    server : Server
    device : MeasuredDevice
    repository : Path
    store : str or Path
        Where measurements are found and kept.
    patience : Patience
    fresh : bool
        Whether what the store has is measured all the same.
    load_timeout_s : float
    client_processes : int or None
        See `LoadGenerator`.
    """

    server: Server
    device: MeasuredDevice
    repository: Path
    store: str | Path
    patience: Patience
    fresh: bool
    load_timeout_s: float
    client_processes: int | None


def run_station(station: Station, job: Job, turns: Iterable[Turn], audience: Audience) -> None:
    """Start the server, run the turns, and leave nothing running.

    Raises
    ------
    ServerError, DeviceError, StoreError
        As `Sweep.run`.
    """
    rig = Rig(
        station.server,
        station.repository,
        gpus=station.device.uuids,
        open_sampler=station.device.open_sampler,
        load_timeout_s=station.load_timeout_s,
    )
    with Store.open(station.store) as store, rig, LoadGenerator(station.client_processes) as generator:
        sweep = Sweep(
            job,
            rig,
            store,
            generator,
            patience=station.patience,
            fresh=station.fresh,
            alike=station.device.alike,
            audience=audience,
        )
        sweep.run(turns)
