"""Fit what co-location costs on a device type to measured contents.                                          [pure]

The method, its sources and its limits are in docs/verification.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from planner.interference.content import Content
from planner.interference.fitted import Interference, ModelCost
from planner.interference.least_squares import Flags, Vector, nonnegative_least_squares
from planner.interference.margin import conformal_margin

RIDGES = (3.0, 1.0, 0.3, 0.1, 0.03, 0.01)  # strengths tried, the strongest first; 1: as much as one measurement
FOLDS = 10  # most groups of contents that are left out in turn to choose the ridge, and to measure the coverage
LEAST = 0.5  # least prediction: constant + sensitivity are raised so far that no slow-down is below this
_Z = 1.6449  # half of the 90 % interval of a normal distribution, in standard deviations


def fit(contents: Iterable[Content], device: str) -> Interference:
    """Fit the contents of one device type; those of others and those of fewer than two members are left out.

    A model alone says nothing about co-location, and a member without a measured slow-down only presses on others.
    The result does not depend on the order of the contents.
    """
    used = [c for c in contents if c.device == device and len(c.members) > 1]
    equations = Equations.of([c for c in used if any(m.slow_down is not None for m in c.members)])
    if not equations.n:
        return Interference.uncalibrated(device)
    ridge = best_ridge(equations)
    left_out = leave_each_content_out(equations, ridge)
    ratios = equations.slow_down / left_out if left_out is not None else None
    margin = conformal_margin(ratios) if ratios is not None else None
    percentiles = [None] * 3 if ratios is None else [float(q) for q in np.quantile(ratios, (0.1, 0.5, 0.9))]
    solution = solve(equations, ridge)
    return Interference(
        device=device,
        constant=float(solution[0]),
        models=_costs(equations, ridge, solution, left_out),
        margin=1.0 if margin is None else float(margin),
        calibrated=margin is not None,
        coverage=None if margin is None else measured_coverage(equations),
        contents=equations.n_groups,
        slow_downs=equations.n,
        ratio_p10=percentiles[0],
        ratio_p50=percentiles[1],
        ratio_p90=percentiles[2],
    )


@dataclass(frozen=True)
class Equations:
    """One linear equation for each measured slow-down.

    Parameters
    ----------
    models : tuple of str
        Coefficients are the constant, the sensitivities of these models, and their pressures.
    factors : array of shape (n, 1 + 2 * models)
    base, slow_down : array of shape (n,)
    group : array of shape (n,)
        Number of the content; contents of the same models are one, so that a repetition is left out with the first.
    in_contents : tuple of int
        For each model, how many different contents have it.
    """

    models: tuple[str, ...]
    factors: Vector
    base: Vector
    slow_down: Vector
    group: np.ndarray[tuple[int], np.dtype[np.int64]]
    in_contents: tuple[int, ...]

    @classmethod
    def of(cls, contents: Sequence[Content]) -> Equations:
        """State the equations of contents, in an order that does not depend on theirs."""
        contents = sorted(contents, key=lambda c: (c.shared, c.models, repr(c)))
        groups = {identity: number for number, identity in enumerate(dict.fromkeys(map(_identity, contents)))}
        models = tuple(sorted({member.model for c in contents for member in c.members}))
        rows = [
            (_factors(content, i, models), content.base, member.slow_down, groups[_identity(content)])
            for content in contents
            for i, member in enumerate(content.members)
            if member.slow_down is not None
        ]
        return cls(
            models,
            np.array([row[0] for row in rows]).reshape(len(rows), 1 + 2 * len(models)),
            np.array([row[1] for row in rows], dtype=float),
            np.array([row[2] for row in rows], dtype=float),
            np.array([row[3] for row in rows], dtype=np.int64),
            tuple(sum(model in names for _, names in groups) for model in models),
        )

    @property
    def n(self) -> int:
        """Number of equations."""
        return len(self.slow_down)

    @property
    def n_groups(self) -> int:
        """Number of different contents."""
        return len(np.unique(self.group))

    @cached_property
    def weighted(self) -> tuple[Vector, Vector]:
        """Both sides of the equations in units of the measured slow-down, so that relative errors are fitted."""
        return self.factors / self.slow_down[:, None], (self.slow_down - self.base) / self.slow_down

    @cached_property
    def normal(self) -> tuple[Vector, Vector]:
        """The matrix and the right side of the normal equations."""
        factors, target = self.weighted
        return factors.T @ factors, factors.T @ target

    def only(self, kept: Flags) -> Equations:
        """Return some of the equations, with the same models."""
        parts = (self.factors[kept], self.base[kept], self.slow_down[kept], self.group[kept])
        return Equations(self.models, *parts, self.in_contents)

    def without(self, left_out: Flags) -> tuple[Vector, Vector]:
        """Return the normal equations without some of the equations."""
        (matrix, side), (factors, target) = self.normal, self.weighted
        return matrix - factors[left_out].T @ factors[left_out], side - factors[left_out].T @ target[left_out]


def _identity(content: Content) -> tuple[bool, tuple[str, ...]]:
    return content.shared, content.models


def _factors(content: Content, member: int, models: Sequence[str]) -> list[float]:
    """Coefficients' factors in the equation of a member: 1, which model it is, and how many of each are beside it."""
    own = content.members[member].model
    beside = [other.model for j, other in enumerate(content.members) if j != member]
    return [1.0, *(float(own == model) for model in models), *(float(beside.count(model)) for model in models)]


def solve(equations: Equations, ridge: float, left_out: Flags | None = None, start: Vector | None = None) -> Vector:
    """Return constant, sensitivities and pressures, from all equations or without some of them."""
    matrix, side = equations.normal if left_out is None else equations.without(left_out)
    n_free = 1 + len(equations.models)
    found = nonnegative_least_squares(
        matrix + ridge * np.eye(len(side)), side, n_free, start=None if start is None else start != 0
    )
    found[0] = max(found[0], LEAST - 1)
    found[1:n_free] = np.maximum(found[1:n_free], LEAST - 1 - found[0])
    return found


def predicted(equations: Equations, solution: Vector) -> Vector:
    """Return the slow-downs that a solution predicts for the members of the equations."""
    return equations.base + equations.factors @ solution


def leave_each_content_out(equations: Equations, ridge: float, folds: int | None = None) -> Vector | None:
    """Predict each slow-down from the other contents; None with fewer than two contents.

    Parameters
    ----------
    folds : int, optional
        Leave the contents out in this many groups, which takes fewer fits; otherwise each by itself.
    """
    numbers = np.unique(equations.group)
    if len(numbers) < 2:
        return None
    fold = np.searchsorted(numbers, equations.group) % min(folds or len(numbers), len(numbers))
    whole = solve(equations, ridge)
    found = np.empty(equations.n)
    for number in range(int(fold.max()) + 1):
        out = fold == number
        solution = solve(equations, ridge, out, start=whole)
        found[out] = equations.base[out] + equations.factors[out] @ solution
    return found


def best_ridge(equations: Equations) -> float:
    """Choose the ridge with the smallest mean relative error on left-out contents; the stronger of equal ones."""
    errors = []
    for ridge in RIDGES:
        found = leave_each_content_out(equations, ridge, FOLDS)
        if found is None:
            return 1.0
        errors.append(float(np.mean(np.abs(found / equations.slow_down - 1))))
    return RIDGES[int(np.argmin(errors))]


def measured_coverage(equations: Equations) -> float | None:
    """Return the share of slow-downs under prediction times margin, where neither has seen their content.

    The contents are left out in at most `FOLDS` groups; for each, ridge, fit and margin are made anew from the rest.
    """
    numbers = np.unique(equations.group)
    fold = np.searchsorted(numbers, equations.group) % min(FOLDS, len(numbers))
    under: list[bool] = []
    for number in range(int(fold.max()) + 1):
        rest, out = equations.only(fold != number), equations.only(fold == number)
        ridge = best_ridge(rest)
        left_out = leave_each_content_out(rest, ridge)
        margin = None if left_out is None else conformal_margin(rest.slow_down / left_out)
        if margin is not None:
            upper = margin * predicted(out, solve(rest, ridge))
            under.extend(bool(fits) for fits in out.slow_down <= upper)
    return sum(under) / len(under) if under else None


def _costs(equations: Equations, ridge: float, solution: Vector, left_out: Vector | None) -> tuple[ModelCost, ...]:
    """Return the fitted models, with the errors of a Bayesian regression whose prior the ridge is."""
    count = len(equations.models)
    errors: list[float | None] = [None] * (1 + 2 * count)
    if left_out is not None:
        variance = float(np.mean((left_out / equations.slow_down - 1) ** 2))
        covariance = variance * np.linalg.inv(equations.normal[0] + ridge * np.eye(1 + 2 * count))
        variances = np.diag(covariance).copy()
        variances[1 : 1 + count] += covariance[0, 0] + 2 * covariance[0, 1 : 1 + count]  # of constant + sensitivity
        errors = [float(_Z * e) for e in np.sqrt(np.maximum(variances, 0.0))]
    return tuple(
        ModelCost(
            model=model,
            sensitivity=float(solution[1 + i]),
            pressure=float(solution[1 + count + i]),
            sensitivity_error=errors[1 + i],
            pressure_error=errors[1 + count + i],
            contents=equations.in_contents[i],
        )
        for i, model in enumerate(equations.models)
    )
