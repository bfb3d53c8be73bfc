"""Draw demands whose rates follow the hours of a day, and write them as the files that `plan solve` reads."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.packing.fleets import CARD_MIB, COLUMNS, SERVER_MIB
from planner.formulation.formulate import formulate
from planner.formulation.request import make_request
from planner.formulation.settings import PlanSettings
from planner.inputs.profile_source import read_profiles
from planner.interference.learnt import NOTHING
from planner.problem.problem import Problem

THROUGHPUT = 100  # inferences/s of every replica


def write(n: int, seed: int, out: Path, *, by_hour: bool) -> list[str]:
    """Write profiles and demand of `n` models; return the options of `plan solve`.

    Each model has a peak at its own hour, of its own width, over a part of its rate that is there all day, with noise
    of a tenth. Without `by_hour` it asks for its highest rate in every hour.
    """
    r = np.random.default_rng(1000 * seed + n)
    out.mkdir(parents=True, exist_ok=True)
    with (out / "metrics-model.csv").open("w", newline="") as f, (out / "demand.csv").open("w", newline="") as g:
        profiles, demand = csv.writer(f), csv.writer(g)
        profiles.writerow(COLUMNS)
        demand.writerow(["model", "rates_by_hour_infer_per_s" if by_hour else "rate_infer_per_s"])
        for i in range(n):
            memory = int(np.clip(r.lognormal(math.log(900), 0.6), 150, 6000))
            share = int(np.clip(round(100 * r.beta(1.8, 4)), 3, 95))
            read = int(np.clip(round(share * r.uniform(0.3, 1.0)), 1, 95))
            name = f"m{i:05d}"
            own = (memory + SERVER_MIB, SERVER_MIB, memory, share, read)
            profiles.writerow([name, "gpu", 1, 1, "ok", THROUGHPUT, *own])
            highest, rates = r.uniform(0.3, 3.0) * THROUGHPUT, _day(r)
            rates = [f"{highest * x / max(rates):.3f}" for x in rates]
            demand.writerow([name, ";".join(rates) if by_hour else max(rates, key=float)])
    options = ["--demand", str(out / "demand.csv"), "--gpu-memory", f"{CARD_MIB}MiB"]
    return [str(out / "metrics-model.csv"), *options]


def _day(r: np.random.Generator) -> list[float]:
    """The shape of a day: a peak of some width over a base, with noise."""
    peak, width, base = r.uniform(0, 24), r.uniform(2, 6), r.uniform(0.05, 0.5)
    distance = np.abs((np.arange(24) - peak + 12) % 24 - 12)
    shape = (base + (1 - base) * np.exp(-((distance / width) ** 2))) * r.uniform(0.9, 1.1, 24)
    return [float(x) for x in shape]


def problem(n: int, seed: int, *, by_hour: bool) -> Problem:
    """Return the problem that the files state."""
    with TemporaryDirectory() as folder:
        profiles, _, demand, *_ = write(n, seed, Path(folder), by_hour=by_hour)
        settings = PlanSettings(demand=demand, gpu_memory_mib=CARD_MIB)
        return formulate(make_request(read_profiles(profiles), settings, NOTHING)).problem
