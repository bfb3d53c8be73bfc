"""Make measured contents from a known model of co-location, and read the shipped table of measured pairs."""

from __future__ import annotations

import csv
import random
from pathlib import Path

from planner.interference.content import Content, Member

PAIRS = Path(__file__).parent.parent / "data" / "gavel-p100-pairs.csv"


class KnownModel:
    """A device on which co-location costs what these parameters say, as measured with noise.

    Parameters
    ----------
    noise : float
        Standard deviation of the factor on a measured slow-down.
    """

    def __init__(self, *, models: int, noise: float, seed: int, constant: float = 0.1, shared: bool = True) -> None:
        self.random = random.Random(seed)
        self.constant, self.noise, self.shared = constant, noise, shared
        self.models = [f"m{n}" for n in range(models)]
        self.busy = {model: self.random.uniform(0.05, 0.7) for model in self.models}
        self.sensitivity = {model: self.random.uniform(-0.1, 0.3) for model in self.models}
        self.pressure = {model: self.random.choice((0.0, self.random.uniform(0.05, 0.4))) for model in self.models}

    def true(self, models: list[str]) -> list[float]:
        """Return the slow-downs without noise."""
        base = max(1.0, sum(self.busy[m] for m in models)) if self.shared else 1.0
        total = sum(self.pressure[m] for m in models)
        return [base + self.constant + self.sensitivity[m] + total - self.pressure[m] for m in models]

    def measured(self, models: list[str]) -> Content:
        """Return the content of these models as measured."""
        members = tuple(
            Member(model=m, busy_share=self.busy[m], slow_down=y * max(0.2, self.random.gauss(1, self.noise)))
            for m, y in zip(models, self.true(models), strict=True)
        )
        return Content(device="GPU", members=members, shared=self.shared)

    def contents(self, count: int, sizes: tuple[int, ...] = (2, 3, 4)) -> list[Content]:
        """Measure so many random contents."""
        return [self.measured(self.random.choices(self.models, k=self.random.choice(sizes))) for _ in range(count)]


def measured_pairs() -> list[Content]:
    """Return the pairs of training jobs on a P100; see tests/data/gavel-p100-pairs.md.

    The table has no busy shares, so the contents count as not shared, and the fit starts from a slow-down of 1.
    """
    with PAIRS.open(newline="") as file:
        found = list(csv.DictReader(file))
    alone = {row["model"]: float(row["throughput_per_s"]) for row in found if not row["beside"]}
    pairs = []
    for row in found:
        if row["beside"]:
            sides = (
                (row["model"], row["throughput_per_s"]),
                (row["beside"], row["throughput_beside_per_s"]),
            )
            members = tuple(
                Member(model=model, busy_share=1.0, slow_down=alone[model] / float(beside)) for model, beside in sides
            )
            pairs.append(Content(device="P100", members=members, shared=False))
    return pairs
