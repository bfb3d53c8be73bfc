"""The records of models that were measured at the same time on one server.                                [pure]"""

from __future__ import annotations

from dataclasses import dataclass

from analyzer.measurements.record import Measurement


@dataclass(frozen=True, slots=True, kw_only=True)
class CoLocatedModel:
    """What one model delivered while the others of its content worked beside it.

    Parameters
    ----------
    measurement : Measurement
        Its own throughput and latency; memory and utilization are those of the whole device, with all models.
    replicas : int
        Replicas that the load stands for; its concurrency or rate is that of all of them together.
    busy_share : float or None
        Share of the device's time that it takes at this load alone, in [0, 1].
    slow_down : float or None
        How many times as long its executions took on the server as alone, batch size by batch size.
    slow_down_half_width : float or None
        Half of the 95 % confidence interval of `slow_down`.
    tolerance : float or None
        Share of its rate that may be missing, as it was judged; None where it was not.
    """

    measurement: Measurement
    replicas: int = 1
    busy_share: float | None = None
    slow_down: float | None = None
    slow_down_half_width: float | None = None
    tolerance: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CoLocation:
    """Models that were measured at the same time on one server, on one device.

    Parameters
    ----------
    models : tuple of CoLocatedModel
        In the order of their trials; all on the same device, with the same server and tool.
    """

    models: tuple[CoLocatedModel, ...]

    @property
    def device_name(self) -> str:
        """Name of the device, as the driver reports it."""
        return self.models[0].measurement.provenance.device_name

    @property
    def measured(self) -> bool:
        """Whether every model has figures."""
        return all(model.measurement.status.measured for model in self.models)
