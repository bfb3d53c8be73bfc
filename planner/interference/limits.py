"""The linear limits under which every member of a content tolerates its slow-down: rows for the solver.       [pure]

With margin m, constant c, sensitivities a and pressures p, member i tolerates the slow-down T_i if

    m (max(1, Σ_all u_j) + c + a_i + Σ_{j≠i} p_j) <= T_i .

The maximum is at most a limit where both its parts are. Adding p_i on both sides makes the sums those over all
members, the same for every i:

    Σ_all (u_j + p_j) <= T_i / m - c - a_i + p_i           (only where the members take turns on the device)
    Σ_all p_j         <= T_i / m - c - a_i + p_i - 1

So a content is legal if, in both rows, the sum of the loads is at most the smallest tolerance. The rows say nothing of
a member alone: its slow-down is 1. A T_i below 1 means that the member does not even hold alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from planner.interference.content import Member
from planner.interference.fitted import Interference


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What a member adds to a row's sum, and the largest sum over all members beside which it may be."""

    load: float
    tolerance: float


def rows(interference: Interference, member: Member, tolerated: float, *, shared: bool) -> tuple[Row, ...]:
    """Return a member's part in the rows: of busy shares (only where the device is shared), and of pressures.

    Parameters
    ----------
    tolerated : float
        The largest slow-down that the member tolerates (`planner.interference.latency.tolerated`).
    shared : bool
        As in `Content`: False under MPS or on slices of their own, where only the second row is returned.
    """
    pressure = interference.pressure(member.model)
    room = tolerated / interference.margin - interference.constant - interference.sensitivity(member.model) + pressure
    pressed = Row(load=pressure, tolerance=room - 1)
    return (Row(load=member.busy_share + pressure, tolerance=room), pressed) if shared else (pressed,)


def is_legal(members: Sequence[tuple[Row, ...]]) -> bool:
    """Say whether members with these rows may share a device; one alone may."""
    if len(members) < 2:
        return True
    return all(
        math.fsum(row.load for row in one) <= min(row.tolerance for row in one) for one in zip(*members, strict=True)
    )
