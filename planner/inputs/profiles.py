"""From measurements to profiles: a model's operating points on one device.                                [pure]"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from analyzer.errors import UsageError
from analyzer.formats.suggestions import suggest
from analyzer.measurements.record import UNKNOWN, Measurement, ServerOnly


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingPoint:
    """What one measured configuration of a model delivers and takes on one device.

    Parameters
    ----------
    variant : str
        The variant's name, ``default`` for the model's own configuration.
    throughput_infer_per_s, latency_p99_s : float or None
        None where they were not measured.
    memory_bytes : int
        The model's own memory, without the server's.
    utilization, memory_utilization : float or None
        Highest readings, as shares of one.
    power_w : float or None
        Mean power of the whole device while the model ran alone.
    estimate : str
        How the figures were derived where they were not measured; empty for a measured point.
    ttft_p99_s, itl_p99_s : float or None
        p99 of the time to the first response and of the inter-token latency, of models that stream.
    input_length, output_length : int or None
        Tokens that the sweep asked for, of each request and of its answer; None where it set none.
    input_tokens, output_tokens : float or None
        Mean tokens as the model reported them.
    memory_is_reservation : bool
        Whether the memory is what the backend reserves of the device that it runs on.
    """

    variant: str
    instances: int
    batch: int
    concurrency: int
    throughput_infer_per_s: float | None
    latency_p99_s: float | None
    memory_bytes: int
    utilization: float | None
    memory_utilization: float | None
    power_w: float | None = None
    estimate: str = ""
    ttft_p99_s: float | None = None
    itl_p99_s: float | None = None
    input_length: int | None = None
    output_length: int | None = None
    input_tokens: float | None = None
    output_tokens: float | None = None
    memory_is_reservation: bool = False

    @property
    def covered_lengths(self) -> tuple[float | None, float | None]:
        """Longest input and answer, in tokens, that its figures hold for: what was asked, or reported if that is less.

        An answer may end early; then its figures are those of the shorter one.
        """
        return (_lesser(self.input_length, self.input_tokens), _lesser(self.output_length, self.output_tokens))

    @property
    def label(self) -> str:
        """The configuration in words."""
        parts = [f"batch {self.batch}", f"concurrency {self.concurrency}"]
        if self.instances != 1:
            parts.append(f"instances {self.instances}")
        if self.variant != "default":
            parts.append(self.variant)
        for name, length in (("input", self.input_length), ("output", self.output_length)):
            if length is not None:
                parts.append(f"{name} {length} tokens")
        return ", ".join(parts)


def _lesser(asked: float | None, reported: float | None) -> float | None:
    known = [one for one in (asked, reported) if one is not None]
    return min(known, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A model's operating points on one device, and what the server takes there without any model.

    Parameters
    ----------
    device : str
        The device's name as the driver gives it.
    device_memory_bytes : int or None
        Memory of the device that server and models can use; None where the measurements do not say.
    server_memory_bytes : int
        Memory of the idle server, which every GPU holds once.
    served_by : str
        What ran the model in place of Triton's backend when it was measured; empty if nothing did.
    """

    model: str
    device: str
    device_memory_bytes: int | None
    server_memory_bytes: int
    points: tuple[OperatingPoint, ...]
    served_by: str = ""

    @property
    def board(self) -> str:
        """The device, or the GPU that it is a MIG slice of: NVML names a slice after its board."""
        return self.device.split(" MIG ")[0]


def build_profiles(
    measurements: Iterable[Measurement],
    server_only: Iterable[ServerOnly] = (),
    *,
    server_memory_bytes: int | None = None,
) -> tuple[Profile, ...]:
    """Turn measurements into one profile for each model and device, sorted by model and device.

    Only closed-loop rows that were measured count. Of rows for the same configuration the last one counts, and
    of a model whose files changed, or that another server ran, only the rows of its newest files and server.

    Parameters
    ----------
    server_memory_bytes : int or None
        The idle server's memory; overrides what the measurements and `server_only` say.

    Raises
    ------
    UsageError
        If no row was measured, a row has no memory, or the idle server's memory is not known.
    """
    baselines = {s.provenance.device_name: s.memory_bytes for s in server_only}
    rows: dict[tuple[str, str], list[Measurement]] = defaultdict(list)
    seen = 0
    for m in measurements:
        seen += 1
        if m.status.measured and m.trial.request_rate_per_s is None:
            rows[m.trial.model, m.provenance.device_name].append(m)
    if not rows:
        raise UsageError(f"none of the {seen} rows was measured in a closed loop; run analyze again and see its causes")
    return tuple(
        _profile(model, device, _newest(rows[model, device]), server_memory_bytes, _idle(device, baselines))
        for model, device in sorted(rows)
    )


def _idle(device: str, baselines: Mapping[str, int | None]) -> int | None:
    """The idle server's memory on a device; where a file names no device and has one such figure only, that one."""
    if len(baselines) == 1 and (UNKNOWN in baselines or device == UNKNOWN):
        return next(iter(baselines.values()))
    return baselines.get(device)


def _newest(rows: list[Measurement]) -> list[Measurement]:
    newest = _source(rows[-1])
    last = {(m.trial, m.instances): m for m in rows if _source(m) == newest}
    return list(last.values())


def _source(row: Measurement) -> tuple[str, str]:
    return row.provenance.model_hash, row.provenance.server


def _profile(model: str, device: str, rows: list[Measurement], override: int | None, idle: int | None) -> Profile:
    servers = [_server_memory(m, override, idle) for m in rows]
    if override is None and idle is None and any(s is None for s in servers):
        raise UsageError(
            f"the idle server's memory on '{device}' is not known (model '{model}');"
            " give it, such as `server_memory_mib=309`"
        )
    known = [s for s in servers if s is not None]
    points = [_point(m, s) for m, s in zip(rows, known, strict=True)]
    return Profile(
        model=model,
        device=device,
        device_memory_bytes=rows[-1].provenance.device_memory_bytes or None,
        server_memory_bytes=max(known),
        points=tuple(sorted(points, key=_configuration)),
        served_by=rows[-1].provenance.served_by,
    )


def _configuration(point: OperatingPoint) -> tuple[str, int, int, int, int, int]:
    lengths = (point.input_length or 0, point.output_length or 0)
    return (point.variant, point.instances, point.batch, point.concurrency, *lengths)


def _server_memory(m: Measurement, override: int | None, idle: int | None) -> int | None:
    if override is not None:
        return override
    return m.server_memory_bytes if m.server_memory_bytes is not None else idle


def _point(m: Measurement, server_memory_bytes: int) -> OperatingPoint:
    trial = m.trial
    if m.max_memory_bytes is None:
        raise UsageError(
            f"model '{trial.model}' at batch {trial.batch}, concurrency {trial.concurrency} has no measured memory"
            " (max_memory_mib is empty); measure it again or leave the row out"
        )
    return OperatingPoint(
        variant=trial.variant.name,
        instances=m.instances,
        batch=trial.batch,
        concurrency=trial.concurrency,
        throughput_infer_per_s=m.throughput_infer_per_s,
        latency_p99_s=m.latency_p99_s,
        memory_bytes=max(0, m.max_memory_bytes - server_memory_bytes),
        utilization=m.max_utilization,
        memory_utilization=m.max_memory_utilization,
        power_w=m.power_w,
        ttft_p99_s=m.stream.first_response_p99_s,
        itl_p99_s=m.stream.itl_p99_s,
        input_length=trial.input_length,
        output_length=trial.output_length,
        input_tokens=m.stream.input_tokens_avg,
        output_tokens=m.stream.output_tokens_avg,
        memory_is_reservation=m.memory_is_reservation,
    )


def of_one_device(profiles: tuple[Profile, ...], device: str | None) -> tuple[Profile, ...]:
    """Keep the profiles of one device and of its slices; figures of two devices are never mixed.

    Raises
    ------
    UsageError
        If `device` is not among them, or there are several and none was chosen.
    """
    boards = sorted({p.board for p in profiles})
    if device is not None:
        kept = tuple(p for p in profiles if device in (p.device, p.board))
        if not kept:
            raise UsageError(f"no profile was measured on `device={device!r}`; {suggest(device, boards)}")
        return kept
    if len(boards) > 1:
        names = " and ".join(f"'{board}'" for board in boards)
        raise UsageError(f"the profiles were measured on {names}; choose one with `device={boards[0]!r}`")
    return profiles


def of_models(profiles: tuple[Profile, ...], names: Iterable[str]) -> tuple[Profile, ...]:
    """Keep the profiles of these models.

    Raises
    ------
    UsageError
        If one of them has no profile.
    """
    known = {p.model for p in profiles}
    wanted = set(names)
    for name in sorted(wanted - known):
        raise UsageError(f"model '{name}' has no profile; {suggest(name, known)}")
    return tuple(p for p in profiles if p.model in wanted)


def at_configuration(
    profiles: tuple[Profile, ...], *, batch: int | None, concurrency: int | None
) -> tuple[Profile, ...]:
    """Keep the points with this batch and this concurrency, each where it is given.

    Raises
    ------
    UsageError
        If a model has no such point.
    """
    kept = []
    for profile in profiles:
        points = tuple(p for p in profile.points if batch in (None, p.batch) and concurrency in (None, p.concurrency))
        if not points:
            asked = {"batch": batch, "concurrency": concurrency}
            what = ", ".join(f"{k} {v}" for k, v in asked.items() if v is not None)
            have = "; ".join(p.label for p in profile.points[:6])
            raise UsageError(f"model '{profile.model}' was not measured at {what}; it has {have}")
        kept.append(replace(profile, points=points))
    return tuple(kept)


def least_memory(profile: Profile) -> OperatingPoint:
    """Return the point that takes the least memory; of equal ones the one that delivers most."""
    return min(profile.points, key=lambda p: (p.memory_bytes, -rate_of(p)))


def fastest(profile: Profile, keep: float = 1.0, *, at_least: float = 0.0) -> tuple[OperatingPoint, ...]:
    """Return the points that deliver at least `keep` of the model's best throughput.

    Parameters
    ----------
    at_least : float
        The model's best throughput elsewhere, in inferences/s; it counts as the best where it is higher.

    Raises
    ------
    UsageError
        If no throughput was measured.
    """
    best = max((rate_of(p) for p in profile.points), default=0.0)
    if not best:
        raise UsageError(
            f"model '{profile.model}' has no measured throughput (throughput_infer_per_s is empty); use `mode='memory'`"
        )
    return tuple(p for p in profile.points if rate_of(p) >= keep * max(best, at_least))


def rate_of(point: OperatingPoint) -> float:
    """Return the measured throughput in inferences/s; 0 where it was not measured."""
    return point.throughput_infer_per_s or 0.0


def by_model(profiles: Iterable[Profile]) -> Mapping[str, tuple[Profile, ...]]:
    """Group profiles by model, in the order of the models' names."""
    grouped: dict[str, list[Profile]] = defaultdict(list)
    for profile in profiles:
        grouped[profile.model].append(profile)
    return {model: tuple(grouped[model]) for model in sorted(grouped)}
