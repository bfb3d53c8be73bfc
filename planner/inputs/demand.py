"""The demand as records: what each model must deliver, and which models may share its GPUs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from analyzer.errors import UsageError
from analyzer.formats.json_keys import (
    FLAG,
    INTEGER,
    MEBIBYTES,
    MILLISECONDS,
    NUMBER,
    TEXT,
    key,
    mapping,
    nullable,
    several,
    word,
)

HOURS = 24  # of a day, from 0 to 23


class Spread(StrEnum):
    """What no two replicas of a model may share."""

    GPU = "gpu"
    NODE = "node"


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """What one model must deliver, and which models may share its GPUs.

    Parameters
    ----------
    rate_infer_per_s : float or None
        Rate to serve, before growth; None asks for `replicas` copies whatever they deliver. With rates by hour it is
        the highest of them, and may be left out.
    latency_p99_s : float or None
        Budget for the p99 latency; operating points above it, or without a measured p99, are not used.
    replicas : int or None
        Copies (without a rate; 1 if None), or the least number of them (with one).
    spread : Spread or None
        Whether replicas are kept on different GPUs or nodes.
    alone : bool
        Whether it shares its GPUs with no other model.
    apart, together : tuple of str
        Names of groups: models of an apart group never share a GPU, those of a together group always do.
    group_max : tuple of (str, int)
        Names of groups, each with the most replicas of its models together that one GPU may hold; every model of a
        group says the same.
    variants : tuple of str
        Other models of the profiles that may serve the same demand (fp16, int8 ...).
    growth : float
        Factor on the rate.
    overhead_bytes : int
        Memory that each replica takes besides its measured memory, where its backend runs a process of its own.
    rates_by_hour_infer_per_s : tuple of float
        Rates to serve in each of the 24 hours of a day, before growth, hour 0 first; in one time zone for all models.
        Empty: the rate is the same in all hours.
    rate_requests_per_s : float or None
        The rate in requests, of a model whose requests are answered one by one, such as a language model: only
        operating points at batch 1 are used, where it is the rate in inferences.
    ttft_p99_s, itl_p99_s : float or None
        Budgets for the p99 of the time to the first response and of the inter-token latency.
    input_length, output_length : int or None
        Tokens of a request and of its answer; operating points that were measured with fewer are not used.

    Raises
    ------
    UsageError
        If the rates by hour are not 24, or all zero, or the highest is not the rate; or two rates are given.

    Examples
    --------
    >>> from planner import Requirement, plan
    >>> wanted = Requirement(model="segmentation_liver", rate_infer_per_s=60, latency_p99_s=None)
    >>> plan("tests/data/case-study.csv", demand=[wanted], gpu_memory_mib=16384).gpus
    3
    """

    model: str
    rate_infer_per_s: float | None = None
    latency_p99_s: float | None = None
    replicas: int | None = None
    spread: Spread | None = None
    alone: bool = False
    apart: tuple[str, ...] = ()
    together: tuple[str, ...] = ()
    group_max: tuple[tuple[str, int], ...] = ()
    variants: tuple[str, ...] = ()
    growth: float = 1.0
    overhead_bytes: int = 0
    rates_by_hour_infer_per_s: tuple[float, ...] = ()
    rate_requests_per_s: float | None = None
    ttft_p99_s: float | None = None
    itl_p99_s: float | None = None
    input_length: int | None = None
    output_length: int | None = None

    def __post_init__(self) -> None:
        rates = self.rates_by_hour_infer_per_s
        fault = fault_of_rate_in_requests(self.rate_requests_per_s, self.rate_infer_per_s, rates)
        if fault:
            raise UsageError(f"rate_requests_per_s of model '{self.model}' {fault}")
        if self.rate_requests_per_s is not None:
            object.__setattr__(self, "rate_infer_per_s", self.rate_requests_per_s)
        if not rates:
            return
        fault = fault_of_rates_by_hour(rates, self.rate_infer_per_s)
        if fault:
            raise UsageError(f"rates_by_hour_infer_per_s of model '{self.model}' {fault}")
        object.__setattr__(self, "rate_infer_per_s", max(rates))

    @property
    def shares_by_hour(self) -> tuple[float, ...]:
        """(24,) the rate of each hour as a share of the highest; 1 in every hour where no hours are given."""
        rates = self.rates_by_hour_infer_per_s
        highest = max(rates, default=1.0)
        return tuple(rate / highest for rate in rates) or (1.0,) * HOURS

    @property
    def rate_to_serve(self) -> float | None:
        """The rate with its growth, in inferences/s."""
        return None if self.rate_infer_per_s is None else self.rate_infer_per_s * self.growth


def fault_of_rate_in_requests(requests: float | None, rate: float | None, by_hour: Sequence[float]) -> str:
    """Say in words what is wrong with a rate in requests/s beside other rates; empty where nothing is."""
    if requests is None or (not by_hour and rate in (None, requests)):
        return ""
    return "stands beside a rate in inferences/s; give one of them"


def fault_of_rates_by_hour(rates: Sequence[float], rate: float | None) -> str:
    """Say in words what is wrong with rates by hour beside a plain rate; empty where nothing is."""
    if len(rates) != HOURS:
        return f"has {len(rates)} values; give {HOURS}, one for each hour of a day, hour 0 first"
    if not all(math.isfinite(one) and one >= 0 for one in rates) or not any(rates):
        return "needs rates of at least 0, one of them above 0; to serve no rate, leave the model out"
    if rate is not None and rate != max(rates):
        return f"has {max(rates):g} as its highest rate, and rate_infer_per_s is {rate:g}; leave rate_infer_per_s out"
    return ""


# The budgets for a p99: the field, which an operating point has as well, and its name in words.
BUDGETS: tuple[tuple[str, str], ...] = (
    ("latency_p99_s", "p99"),
    ("ttft_p99_s", "p99 time to the first response"),
    ("itl_p99_s", "p99 inter-token latency"),
)

# The fields that restrict which replicas share a GPU: name, value without a restriction, and that value in words.
SHARING_FIELDS: tuple[tuple[str, object, str], ...] = (
    ("spread", None, "not spread"),
    ("alone", False, "not alone"),
    ("apart", (), "not kept apart"),
    ("together", (), "not kept together"),
    ("group_max", (), "as often on a GPU as there is room"),
)

REQUIREMENT_KEYS = (  # of a requirement in a placement file
    key("model", TEXT),
    key("rate_infer_per_s", nullable(NUMBER), absent=None),
    key("latency_p99_ms", nullable(MILLISECONDS), "latency_p99_s", absent=None),
    key("replicas", nullable(INTEGER), absent=None),
    key("spread", nullable(word(Spread)), absent=None),
    key("alone", FLAG, absent=False),
    key("apart", several(TEXT), absent=()),
    key("together", several(TEXT), absent=()),
    key("group_max", mapping(INTEGER), absent=(), left_out=True),
    key("variants", several(TEXT), absent=()),
    key("growth", NUMBER, absent=1.0),
    key("overhead_mib", MEBIBYTES, "overhead_bytes", absent=0),
    key("rates_by_hour_infer_per_s", several(NUMBER), absent=(), left_out=True),
    key("rate_requests_per_s", NUMBER, absent=None, left_out=True),
    key("ttft_p99_ms", MILLISECONDS, "ttft_p99_s", absent=None, left_out=True),
    key("itl_p99_ms", MILLISECONDS, "itl_p99_s", absent=None, left_out=True),
    key("input_length", INTEGER, absent=None, left_out=True),
    key("output_length", INTEGER, absent=None, left_out=True),
)


def one_copy_each(models: Iterable[str]) -> tuple[Requirement, ...]:
    """Return the demand that holds where none is given: one copy of every model."""
    return tuple(Requirement(model=model) for model in sorted(set(models)))
