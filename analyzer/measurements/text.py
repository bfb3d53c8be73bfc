"""Show measurements as tables for people: the columns with their headings, and the text for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from analyzer.formats.text_table import Column, plain_text, worth_showing
from analyzer.formats.units import counted, mib, milliseconds, number, percent, printable, whole
from analyzer.measurements.record import UNKNOWN, Measurement, Provenance, ServerOnly, Trial, Variant
from analyzer.measurements.stream_columns import length_columns, stream_columns

CAUSE_WIDTH = 60  # characters of a failure's cause in a table


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The subject of one table and one figure: one configuration of one model on one kind of device.

    Parameters
    ----------
    model : str
    variant : Variant
    instances : int
    open_loop : bool
        Whether the load is a request rate rather than a concurrency.
    transport, inputs, arrivals : str
        See `Trial`.
    provenance : Provenance
        Figures of another kind of device, another server or other model files are another subject. Devices of one
        kind are the same subject, so the UUID is empty.
    """

    model: str
    variant: Variant
    instances: int
    open_loop: bool
    transport: str
    inputs: str
    arrivals: str
    provenance: Provenance

    @property
    def configuration(self) -> str:
        """What differs from the defaults, in a few words: variant, instances, transport, arrivals, inputs."""
        parts = [] if self.variant.name == "default" else [self.variant.name]
        if self.variant.instances is None and self.instances != 1:
            parts.append(counted(self.instances, "instance"))
        if self.transport != "http":
            parts.append(self.transport)
        if self.open_loop and self.arrivals != "poisson":
            parts.append(f"{self.arrivals} arrivals")
        return ", ".join([*parts, self.inputs] if self.inputs else parts)

    @property
    def title(self) -> str:
        """The model, with the `configuration` if anything differs from the defaults."""
        return f"{self.model} ({self.configuration})" if self.configuration else self.model


class Series(NamedTuple):
    """What trials have in common that differ in their load only; a length is 0 where the sweep does not set it."""

    batch: int
    input_length: int
    output_length: int

    @property
    def name(self) -> str:
        """The batch size, and the lengths where they are set."""
        return ", ".join([f"Batch {self.batch}", *_lengths(self.input_length, self.output_length)])


def _lengths(input_length: int | None, output_length: int | None) -> list[str]:
    given = (("input", input_length), ("output", output_length))
    return [f"{name} {length}" for name, length in given if length]


def subject(measurement: Measurement) -> Subject:
    """Return the subject of a measurement."""
    trial = measurement.trial
    return Subject(
        model=trial.model,
        variant=trial.variant,
        instances=measurement.instances,
        open_loop=trial.request_rate_per_s is not None,
        transport=trial.transport,
        inputs=trial.inputs,
        arrivals=trial.arrivals,
        provenance=replace(measurement.provenance, device_uuid=""),
    )


def by_subject(measurements: Iterable[Measurement]) -> dict[Subject, list[Measurement]]:
    """Group measurements by subject, in order of appearance; each group is sorted by series, then by load."""
    groups: dict[Subject, list[Measurement]] = {}
    for measurement in measurements:
        groups.setdefault(subject(measurement), []).append(measurement)
    return {key: sorted(group, key=lambda m: (series(m), load(m))) for key, group in groups.items()}


def series(measurement: Measurement) -> Series:
    """Return the series of a measurement, which a figure draws as one line over the load."""
    trial = measurement.trial
    return Series(trial.batch, trial.input_length or 0, trial.output_length or 0)


def load(measurement: Measurement) -> float:
    """Return the load of a trial: requests in flight, or requests/s in an open loop."""
    rate = measurement.trial.request_rate_per_s
    return measurement.trial.concurrency if rate is None else rate


def outcome(measurement: Measurement) -> str:
    """Return how a trial ended: its status, and its cause if there is one."""
    status = _status(measurement)
    return f"{status}: {measurement.cause}" if measurement.cause else status


def trial_name(trial: Trial) -> str:
    """Describe a trial in one line: model, variant, batch, lengths and load."""
    variant = "" if trial.variant == Variant() else f" ({trial.variant.name})"
    rate = trial.request_rate_per_s
    pace = f"concurrency {trial.concurrency}" if rate is None else f"{rate:g} requests/s"
    return " ".join([f"{trial.model}{variant} batch {trial.batch}", *lengths_of(trial), pace])


def lengths_of(trial: Trial) -> list[str]:
    """Return a trial's lengths in words, those that are set."""
    return _lengths(trial.input_length, trial.output_length)


def _status(measurement: Measurement) -> str:
    return measurement.status.value.replace("_", " ")


def _status_in_table(measurement: Measurement) -> str:
    """Return the status, with the beginning of a failure's cause; the summary has the whole cause."""
    if measurement.status.measured or not measurement.cause:
        return _status(measurement)
    return f"{_status(measurement)}: {textwrap.shorten(printable(measurement.cause), CAUSE_WIDTH, placeholder=' …')}"


def processor(provenance: Provenance) -> str:
    """Return "GPU " or "CPU ", whose utilization and memory were measured; empty if a CSV file does not say."""
    if provenance.driver is not None:
        return "GPU "
    return "CPU " if provenance.device_memory_bytes else ""


def memory_title(about: Subject, measurements: Iterable[Measurement]) -> str:
    """Return the title of a drawing of the memory; it says where that is a reservation."""
    of = "GPU memory" if processor(about.provenance) == "GPU " else "Memory"
    reserved = any(measurement.memory_is_reservation for measurement in measurements)
    return f"{of}, highest; the backend reserves it" if reserved else f"{of}, highest"


def device(provenance: Provenance) -> str:
    """Return the name and the memory of a device, as far as they are known."""
    if provenance.device_name == UNKNOWN:
        return "an unknown device"
    memory = f", {mib(provenance.device_memory_bytes)} MiB" if provenance.device_memory_bytes else ""
    return f"{provenance.device_name}{memory}"


def measurement_columns(about: Subject, *, full: bool = False) -> list[Column[Measurement]]:
    """Return the columns of the table of one subject, most important first.

    Parameters
    ----------
    about : Subject
    full : bool
        Whether to show all latencies and the power, not only the p99 latency; the status then has no cause.
    """
    unit = processor(about.provenance)
    memory = "GPU memory" if unit == "GPU " else "memory"
    rate: Column[Measurement] = Column(title="Request rate", unit="requests/s", text=lambda m: number(load(m)))
    concurrency: Column[Measurement] = Column(title="Concurrency", unit="", text=lambda m: whole(load(m)))
    latencies: list[Column[Measurement]] = [
        Column(title="avg latency", unit="ms", text=lambda m: milliseconds(m.latency_avg_s)),
        Column(title="p50 latency", unit="ms", text=lambda m: milliseconds(m.latency_p50_s)),
        Column(title="p90 latency", unit="ms", text=lambda m: milliseconds(m.latency_p90_s)),
        Column(title="p95 latency", unit="ms", text=lambda m: milliseconds(m.latency_p95_s)),
        Column(title="p99 latency", unit="ms", text=lambda m: milliseconds(m.latency_p99_s)),
    ]
    power: list[Column[Measurement]] = [Column(title="Power", unit="W", text=lambda m: number(m.power_w))]
    return [
        Column(title="Batch", unit="", text=lambda m: whole(m.trial.batch)),
        rate if about.open_loop else concurrency,
        *length_columns(),
        Column(title="Throughput", unit="infer/s", text=lambda m: number(m.throughput_infer_per_s)),
        Column(title="±", unit="%", text=lambda m: percent(m.throughput_ci)),
        *stream_columns(full=full),
        *(latencies if full else latencies[-1:]),
        Column(title="±", unit="%", text=lambda m: percent(m.latency_p99_ci)),
        Column(title="Max memory utilization", unit="%", text=lambda m: percent(m.max_memory_utilization)),
        Column(title=f"Max {unit}utilization", unit="%", text=lambda m: percent(m.max_utilization)),
        Column(title=f"Max {memory}", unit="MiB", text=lambda m: mib(m.max_memory_bytes)),
        Column(title="Model's own", unit="MiB", text=lambda m: mib(m.model_memory_bytes)),
        Column(title="Memory is", unit="", text=lambda m: "reserved" if m.memory_is_reservation else "", numeric=False),
        *(power if full else []),
        Column(title="Errors", unit="requests", text=lambda m: whole(m.errors) if m.errors else ""),
        Column(title="Late", unit="requests", text=lambda m: whole(m.late)),
        Column(title="Status", unit="", text=_status if full else _status_in_table, numeric=False),
    ]


SERVER_ONLY_COLUMNS: list[Column[ServerOnly]] = [
    Column(title="Device", unit="", text=lambda s: s.provenance.device_name, numeric=False),
    Column(title="Server's memory", unit="MiB", text=lambda s: mib(s.memory_bytes)),
    Column(title="Max memory utilization", unit="%", text=lambda s: percent(s.max_memory_utilization)),
    Column(title="Max utilization", unit="%", text=lambda s: percent(s.max_utilization)),
    Column(title="Triton", unit="", text=lambda s: s.provenance.server, numeric=False),
]


def measurement_table(measurements: Sequence[Measurement]) -> str:
    """Write measurements as aligned plain text, with one table for each model and configuration.

    A failed trial has a row with status and cause; columns without any known value are left out.
    """
    tables = []
    for about, group in by_subject(measurements).items():
        columns = worth_showing(measurement_columns(about), group)
        title = printable(f"{about.title} on {about.provenance.device_name}")
        tables.append(f"{title}\n{plain_text(columns, group)}")
    return "\n\n".join(tables)


def server_only_table(records: Sequence[ServerOnly]) -> str:
    """Write the idle server's figures as aligned plain text, with one row for each device and server."""
    return plain_text(worth_showing(SERVER_ONLY_COLUMNS, records), records)
