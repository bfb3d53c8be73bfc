"""Which operating points may serve a requirement on a GPU type, and what a replica takes and delivers.      [pure]"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from analyzer.formats.units import times, within_limit
from planner.formulation.gpu_places import GpuPlace
from planner.inputs.demand import BUDGETS, Requirement
from planner.inputs.fleet import Scaling
from planner.inputs.profiles import OperatingPoint, Profile, fastest, least_memory, rate_of

SHARE_STEPS = 10  # proportional charging: a replica serves one tenth, two tenths ... of the measured throughput


class Mode(StrEnum):
    """Which resources limit the models on a GPU."""

    MEMORY = "memory"
    THROUGHPUT = "throughput"  # memory, utilization and memory utilization


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A way to run one replica of a model.

    Parameters
    ----------
    place : int
        Index of the place where it runs, among the problem's places.
    model : str
        The profiled model that runs: the required one or one of its variants.
    device : str
        Name of the device that its point was measured on.
    share : float
        Share of the measured throughput that is asked of it, in (0, 1].
    charged : float
        Share of the measured utilizations that is charged for it.
    memory_bytes : int
        The replica's own memory, with the overhead of its process.
    """

    place: int
    model: str
    device: str
    point: OperatingPoint
    share: float
    charged: float
    memory_bytes: int

    @property
    def throughput_infer_per_s(self) -> float | None:
        """Throughput that it delivers; None where it was not measured."""
        delivered = self.point.throughput_infer_per_s
        return None if delivered is None else delivered * self.share

    @property
    def utilization(self) -> float | None:
        """Share of the place's time that it takes; None where it was not measured."""
        return None if self.point.utilization is None else self.point.utilization * self.charged

    @property
    def memory_utilization(self) -> float | None:
        """Share of the time of the place's memory that it takes; None where it was not measured."""
        return None if self.point.memory_utilization is None else self.point.memory_utilization * self.charged


def candidates(
    requirement: Requirement,
    number: int,
    place: GpuPlace,
    profiles: Mapping[str, tuple[Profile, ...]],
    *,
    mode: Mode,
    keep_throughput: float = 1.0,
    proportional: bool = False,
    headroom: bool = False,
) -> tuple[Candidate, ...]:
    """Return the ways to run a replica of the required model, or of a variant, on a GPU or a slice.

    With a rate to serve, every point within the p99 budget is a candidate, so that the solver can choose. Without a
    rate these are the point with the least memory (memory mode) or the points that deliver at least `keep_throughput`
    of the model's best throughput; on a slice the best throughput on the whole GPU counts as well.

    Parameters
    ----------
    number : int
        Index of the place among the problem's places.
    profiles : mapping of model to its profiles, one for each device
    proportional : bool
        Also offer each point at tenths of its load, with utilizations in proportion.
    headroom : bool
        Also offer each point at tenths of its load, with all of its utilizations: others may slow it down.
    """
    found = []
    overhead_bytes = place.fleet_type.model_overhead_bytes + requirement.overhead_bytes
    for profile in profiles_on(requirement, place, profiles):
        within = replace(profile, points=tuple(p for p in profile.points if meets(p, requirement)))
        whole = [p for p in _on_type(profiles[profile.model], place) if place.slice_name]
        best = max((rate_of(p) for w in whole for p in w.points if meets(p, requirement)), default=0.0)
        for point in _candidates(within, requirement, mode, keep_throughput, best):
            in_steps = (proportional or headroom) and requirement.rate_to_serve
            steps = range(1, SHARE_STEPS + 1) if in_steps else (SHARE_STEPS,)
            found += [
                Candidate(
                    place=number,
                    model=profile.model,
                    device=profile.device,
                    point=point,
                    share=step / SHARE_STEPS,
                    charged=step / SHARE_STEPS if proportional else 1.0,
                    memory_bytes=point.memory_bytes + overhead_bytes,
                )
                for step in steps
            ]
    return tuple(found)


def profiles_on(
    requirement: Requirement, place: GpuPlace, profiles: Mapping[str, tuple[Profile, ...]]
) -> Iterator[Profile]:
    """Yield the profiles that count for a place: measured there; else carried over from a whole GPU of its type."""
    for model in (requirement.model, *requirement.variants):
        known = profiles.get(model, ())
        own = [p for p in known if p.device in place.devices]
        if own:
            yield from own
        elif place.slice_name is None:
            yield from _on_type(known, place)
        else:
            yield from (_on_slice(p, place) for p in _on_type(known, place))


def _on_type(known: tuple[Profile, ...], place: GpuPlace) -> list[Profile]:
    """The profiles measured on the place's GPU type; without any, those that the fleet's scaling carries over."""
    own = [p for p in known if p.device in place.fleet_type.devices]
    scaling = place.fleet_type.scaling
    if own or scaling is None:
        return own
    return [_scaled(p, scaling) for p in known if p.device == scaling.device]


def _on_slice(profile: Profile, place: GpuPlace) -> Profile:
    """Estimate what a model does on a slice from what it does on the whole GPU.

    A slice has a share of the GPU's multiprocessors and of its memory bandwidth, so work takes 1 / share times as
    long. Utilization and memory utilization grow by their factors; where one would exceed 1, throughput falls in
    proportion. The p99 is multiplied by the larger factor, which is too much for models that never filled the GPU. A
    utilization that was not measured is taken to have been 1. Points whose memory is a reservation are left out: on a
    slice the backend reserves another amount.
    """
    compute, bandwidth = place.compute_share, place.memory_share
    slowest = 1 / min(compute, bandwidth)
    points = []
    for p in _without_reservations(profile):
        used = 1.0 if p.utilization is None else p.utilization / compute
        read = 1.0 if p.memory_utilization is None else p.memory_utilization / bandwidth
        overload = max(1.0, used, read) if p.utilization is not None else 1 / compute
        points.append(
            replace(
                p,
                throughput_infer_per_s=times(p.throughput_infer_per_s, 1 / overload),
                latency_p99_s=times(p.latency_p99_s, slowest),
                ttft_p99_s=times(p.ttft_p99_s, slowest),
                itl_p99_s=times(p.itl_p99_s, slowest),
                utilization=None if p.utilization is None else min(1.0, used),
                memory_utilization=None if p.memory_utilization is None else min(1.0, read),
                power_w=None,
                estimate="; ".join(
                    filter(
                        None, (p.estimate, f"estimated from a whole {place.fleet_type.type}, not measured on a slice")
                    )
                ),
            )
        )
    return replace(profile, points=tuple(points))


def _scaled(profile: Profile, scaling: Scaling) -> Profile:
    label = f"scaled from {scaling.device}"
    points = tuple(
        replace(
            p,
            throughput_infer_per_s=times(p.throughput_infer_per_s, scaling.throughput),
            latency_p99_s=times(p.latency_p99_s, scaling.latency),
            ttft_p99_s=times(p.ttft_p99_s, scaling.latency),
            itl_p99_s=times(p.itl_p99_s, scaling.latency),
            memory_bytes=round(p.memory_bytes * scaling.memory),
            utilization=times(p.utilization, scaling.utilization),
            memory_utilization=times(p.memory_utilization, scaling.utilization),
            power_w=None,  # another card's power says nothing about this one's
            estimate="; ".join(filter(None, (p.estimate, label))),
        )
        for p in _without_reservations(profile)
    )
    return replace(profile, points=points)


def _without_reservations(profile: Profile) -> list[OperatingPoint]:
    return [p for p in profile.points if not p.memory_is_reservation]


def meets(point: OperatingPoint, requirement: Requirement) -> bool:
    """Say whether a point is within the budgets of a requirement, and was measured with requests as long as its own."""
    if requirement.rate_requests_per_s is not None and point.batch != 1:
        return False
    for field, _ in BUDGETS:
        budget_s, measured_s = getattr(requirement, field), getattr(point, field)
        if budget_s is not None and (measured_s is None or not within_limit(measured_s, budget_s)):
            return False
    return covers(point, requirement)


def covers(point: OperatingPoint, requirement: Requirement) -> bool:
    """Say whether a point was measured with requests and answers at least as long as a requirement's."""
    wanted = (requirement.input_length, requirement.output_length)
    return all(
        length is None or (measured is not None and round(measured) >= length)
        for length, measured in zip(wanted, point.covered_lengths, strict=True)
    )


def _candidates(
    profile: Profile, requirement: Requirement, mode: Mode, keep_throughput: float, best: float
) -> tuple[OperatingPoint, ...]:
    if not profile.points:
        return ()
    if requirement.rate_to_serve is not None:
        return tuple(p for p in profile.points if p.throughput_infer_per_s)
    if mode is Mode.MEMORY:
        return (least_memory(profile),)
    return fastest(profile, keep_throughput, at_least=best)
