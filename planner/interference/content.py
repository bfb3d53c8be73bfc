"""What was measured together on a device: its members, and how much slower each of them was.                 [pure]"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One copy of a model on a device that it shares.

    Parameters
    ----------
    model : str
        What the fit tells apart: the model's name, with its variant where that is not the default.
    busy_share : float
        Share of the device's time that it takes at its planned load: its utilization alone times the planned rate over
        the rate at which that was measured.
    slow_down : float or None
        Execution time beside the others over execution time alone; None where it was not measured.
    """

    model: str
    busy_share: float
    slow_down: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.busy_share < math.inf:
            raise ValueError(f"the busy share of {self.model} is {self.busy_share}; it is at least 0")
        if self.slow_down is not None and not 0 < self.slow_down < math.inf:
            raise ValueError(f"the slow-down of {self.model} is {self.slow_down}; it is above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """The members of one device.

    Parameters
    ----------
    device : str
        Name of the device type; each has a fit of its own.
    members : tuple of Member
        Copies of one model are members of their own.
    shared : bool
        Whether the members take turns on the device; False under MPS or on slices of their own.
    """

    device: str
    members: tuple[Member, ...]
    shared: bool = True

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the members' models, sorted; a model with several copies is there several times."""
        return tuple(sorted(member.model for member in self.members))

    @property
    def base(self) -> float:
        """Slow-down of members that only take turns: the sum of the busy shares where that is above 1."""
        return max(1.0, math.fsum(member.busy_share for member in self.members)) if self.shared else 1.0


def model_key(name: str, variant: str) -> str:
    """Return what a fit tells apart: the model's name, with its configuration where that is not its own."""
    return name if variant == "default" else f"{name} ({variant})"
