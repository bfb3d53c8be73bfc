"""The record of a verification: for each content of a plan what was planned, predicted and measured, and the verdict.

The records are in bytes, seconds and shares of one. Each is followed by its JSON keys, which give the units in the
file; `planner.verification.file` writes and reads it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from analyzer.formats.json_keys import (
    FLAG,
    INTEGER,
    MEBIBYTES,
    MILLISECONDS,
    NUMBER,
    PERCENT,
    ROUNDED,
    TEXT,
    key,
    nested,
    nullable,
    several,
    word,
)
from analyzer.measurements.record import Status
from planner.formulation.candidates import Mode

if TYPE_CHECKING:
    import pandas as pd


class Verdict(StrEnum):
    """Whether what was measured is what was planned, from the worst to the best."""

    MISSES = "misses"
    DRIFTED = "host drifted"  # it is too slow, and so is a model alone: the host is not as it was profiled
    NOT_MEASURED = "not measured"
    WITHIN_NOISE = "within noise"  # the interval holds the limit
    HOLDS = "holds"

    @property
    def shown_to_hold(self) -> bool:
        """Whether nothing speaks against the plan."""
        return self in (Verdict.HOLDS, Verdict.WITHIN_NOISE)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the worst of verdicts; `HOLDS` where there are none."""
    order = list(Verdict)
    return min(verdicts, key=order.index, default=Verdict.HOLDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A figure of a device as planned and as measured, and the most that the plan allows.

    Parameters
    ----------
    planned, measured : float or None
        Bytes, or shares of one; None where it was not planned or not measured.
    most : float or None
        The threshold; None where the plan's mode has none.
    """

    planned: float | None
    measured: float | None
    most: float | None


_SHARES = (
    key("planned_pct", nullable(PERCENT), "planned"),
    key("measured_pct", nullable(PERCENT), "measured"),
    key("most_pct", nullable(PERCENT), "most"),
)
_BYTES = (
    key("planned_mib", nullable(MEBIBYTES), "planned"),
    key("measured_mib", nullable(MEBIBYTES), "measured"),
    key("most_mib", nullable(MEBIBYTES), "most"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedModel:
    """One model of a content: its load, and what it delivered beside the others.

    Parameters
    ----------
    request_rate_per_s : float or None
        Rate at which requests were sent; None where `concurrency` requests were kept in flight.
    planned_infer_per_s, offered_infer_per_s, served_infer_per_s : float or None
        Throughput that the plan promises, what was sent at a rate in the window (None where a number of requests was
        kept in flight), and what was served.
    served_half_width_infer_per_s : float or None
        Half width of the 95 % interval of what was served; at a rate, given what was offered.
    errors : int or None
        Requests that failed.
    latency_budget_s : float or None
        The p99 that the demand allows.
    ttft_budget_s, itl_budget_s : float or None
        The p99 of the time to the first response, and of the inter-token latency, that the demand allows.
    ttft_p99_s, ttft_p99_half_width_s, itl_p99_s, itl_p99_half_width_s : float or None
        As measured, of models that stream.
    predicted_slow_down, most_slow_down : float or None
        Slow-down on the server as fitted, and with its margin.
    slow_down, slow_down_half_width : float or None
        As measured, against the same model alone.
    predicted_p99_s, most_p99_s : float or None
        The p99 that follows from the predicted slow-down, and from that with its margin; None where it grows without
        bound.
    cause : str
        Why it has no figures, or why its verdict is not that it holds.
    """

    name: str
    variant: str
    batch: int
    concurrency: int
    request_rate_per_s: float | None
    replicas: int
    verdict: Verdict
    status: Status
    cause: str = ""
    planned_infer_per_s: float | None = None
    offered_infer_per_s: float | None = None
    served_infer_per_s: float | None = None
    served_half_width_infer_per_s: float | None = None
    errors: int | None = None
    latency_budget_s: float | None = None
    latency_p50_s: float | None = None
    latency_p99_s: float | None = None
    latency_p99_half_width_s: float | None = None
    alone_p99_s: float | None = None
    predicted_p99_s: float | None = None
    most_p99_s: float | None = None
    busy_share: float | None = None
    predicted_slow_down: float | None = None
    most_slow_down: float | None = None
    slow_down: float | None = None
    slow_down_half_width: float | None = None
    ttft_budget_s: float | None = None
    ttft_p99_s: float | None = None
    ttft_p99_half_width_s: float | None = None
    itl_budget_s: float | None = None
    itl_p99_s: float | None = None
    itl_p99_half_width_s: float | None = None


MODEL_KEYS = (
    key("name", TEXT),
    key("variant", TEXT),
    key("batch", INTEGER),
    key("concurrency", INTEGER),
    key("request_rate_per_s", nullable(ROUNDED)),
    key("replicas", INTEGER),
    key("verdict", word(Verdict)),
    key("status", word(Status)),
    key("cause", TEXT, absent="", left_out=True),
    *(
        key(name, nullable(ROUNDED), absent=None)
        for name in (
            *("planned_infer_per_s", "offered_infer_per_s", "served_infer_per_s"),
            "served_half_width_infer_per_s",
        )
    ),
    key("errors", nullable(INTEGER), absent=None),
    *(
        key(f"{name}_ms", nullable(MILLISECONDS), f"{name}_s", absent=None)
        for name in ("latency_budget", "latency_p50", "latency_p99", "latency_p99_half_width", "alone_p99")
    ),
    key("predicted_p99_ms", nullable(MILLISECONDS), "predicted_p99_s", absent=None),
    key("most_p99_ms", nullable(MILLISECONDS), "most_p99_s", absent=None),
    key("busy_share_pct", nullable(PERCENT), "busy_share", absent=None),
    *(
        key(name, nullable(ROUNDED), absent=None)
        for name in ("predicted_slow_down", "most_slow_down", "slow_down", "slow_down_half_width")
    ),
    *(
        key(f"{name}_ms", nullable(MILLISECONDS), f"{name}_s", absent=None, left_out=True)
        for of in ("ttft", "itl")
        for name in (f"{of}_budget", f"{of}_p99", f"{of}_p99_half_width")
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """One model of a content, measured alone again, and its profile.

    Parameters
    ----------
    profiled_infer_per_s, measured_infer_per_s : float or None
        Throughput at the same operating point, each with the half width of its 95 % interval.
    drifted : bool
        Whether the two differ by more than both intervals.
    cause : str
        Why it could not be measured.
    """

    model: str
    batch: int
    concurrency: int
    profiled_infer_per_s: float | None
    profiled_half_width_infer_per_s: float | None
    measured_infer_per_s: float | None
    measured_half_width_infer_per_s: float | None
    drifted: bool
    cause: str = ""


CONTROL_KEYS = (
    key("model", TEXT),
    key("batch", INTEGER),
    key("concurrency", INTEGER),
    key("profiled_infer_per_s", nullable(ROUNDED)),
    key("profiled_half_width_infer_per_s", nullable(ROUNDED)),
    key("measured_infer_per_s", nullable(ROUNDED)),
    key("measured_half_width_infer_per_s", nullable(ROUNDED)),
    key("drifted", FLAG),
    key("cause", TEXT, absent="", left_out=True),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedContent:
    """The models of one server of the plan, measured at the same time.

    Parameters
    ----------
    gpus : tuple of str
        Ids of the GPUs, or slices, that have this content.
    device : str
        Where it was measured.
    cause : str
        Why it was not measured, or why its verdict is not that it holds.
    """

    gpus: tuple[str, ...]
    type: str
    device: str
    verdict: Verdict
    models: tuple[VerifiedModel, ...]
    memory: Compared
    utilization: Compared
    memory_utilization: Compared
    control: Control | None = None
    window_s: float | None = None
    cause: str = ""

    @property
    def name(self) -> str:
        """The first GPU with this content, and how many more have it."""
        return self.gpus[0] if len(self.gpus) == 1 else f"{self.gpus[0]} and {len(self.gpus) - 1} like it"


CONTENT_KEYS = (
    key("gpus", several(TEXT)),
    key("type", TEXT),
    key("device", TEXT),
    key("verdict", word(Verdict)),
    key("cause", TEXT, absent="", left_out=True),
    key("memory", nested(Compared, _BYTES)),
    key("utilization", nested(Compared, _SHARES)),
    key("memory_utilization", nested(Compared, _SHARES)),
    key("window_s", nullable(NUMBER), absent=None),
    key("control", nullable(nested(Control, CONTROL_KEYS)), absent=None),
    key("models", several(nested(VerifiedModel, MODEL_KEYS))),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotTried:
    """GPUs of the plan whose content was not measured, and why."""

    gpus: tuple[str, ...]
    reason: str


NOT_TRIED_KEYS = (key("gpus", several(TEXT)), key("reason", TEXT))


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationProvenance:
    """What was verified, and with what.

    Parameters
    ----------
    placement_sha256 : str
        SHA-256 of the placement as `plan solve -o` writes it.
    server : str
        Triton's version, with the image's digest if it ran in a container.
    calibrated : bool
        Whether the predicted slow-downs rest on enough measurements for their margin.
    """

    tool: str
    tool_version: str
    placement_sha256: str
    devices: tuple[str, ...]
    server: str
    precision_pct: float
    max_trial_s: float
    seed: int
    calibrated: bool


PROVENANCE_KEYS = (
    key("tool", TEXT),
    key("tool_version", TEXT),
    key("placement_sha256", TEXT),
    key("devices", several(TEXT)),
    key("server", TEXT),
    key("precision_pct", NUMBER),
    key("max_trial_s", NUMBER),
    key("seed", INTEGER),
    key("calibrated", FLAG),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """Whether a placement holds.

    Parameters
    ----------
    mode : Mode
        The plan's mode; by memory alone, a plan promises no throughput.
    not_tried : tuple of NotTried
        What was left out, by request or because this host cannot show it.
    """

    schema_version: str
    mode: Mode
    verdict: Verdict
    contents: tuple[VerifiedContent, ...]
    not_tried: tuple[NotTried, ...]
    provenance: VerificationProvenance

    def to_frame(self) -> pd.DataFrame:
        """Return a table with a row for each model of each content; units are in the column names."""
        from planner.verification.frame import verification_frame

        return verification_frame(self, MODEL_KEYS)


VERIFICATION_KEYS = (
    key("schema_version", TEXT),
    key("mode", word(Mode)),
    key("verdict", word(Verdict)),
    key("contents", several(nested(VerifiedContent, CONTENT_KEYS))),
    key("not_tried", several(nested(NotTried, NOT_TRIED_KEYS))),
    key("provenance", nested(VerificationProvenance, PROVENANCE_KEYS)),
)
