"""Draw instances from fixed seeds, and write them as the files that `plan solve` reads.

Resources: memory in MiB (a GPU has 16384 MiB, of which its server takes 309), utilization and memory utilization in %.
"""

from __future__ import annotations

import csv
import math
import random
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TypedDict

import numpy as np

SERVER_MIB, CARD_MIB = 309, 16384
NET_MIB = CARD_MIB - SERVER_MIB
COLUMNS = (
    "model", "device", "batch", "concurrency", "status", "throughput_infer_per_s", "max_memory_mib",
    "server_memory_mib", "model_memory_mib", "max_utilization_pct", "max_memory_utilization_pct",
)  # fmt: skip


class Instance(TypedDict):
    """Capacities `C`, loads `w` of each kind, copies `d` of each, and the optimal number of GPUs where it is known."""

    C: list[int]
    w: list[list[int]]
    d: list[int]
    known: int | None


def gpu_fleet(n: int, m: int, *, few: bool, seed: int) -> Instance:
    """Draw `n` models from `m` profiles with Zipf-like popularity; with `few`, few of them fit on a GPU."""
    r = np.random.default_rng(1000 * seed + m + (0 if few else 7))
    drawn: set[tuple[int, int, int]] = set()
    while len(drawn) < m:
        if few:
            memory, share = np.clip(r.lognormal(math.log(3500), 0.7), 300, 14000), r.beta(1.8, 3.2)
        else:
            memory, share = np.clip(r.lognormal(math.log(1400), 0.7), 150, 9000), r.beta(1.4, 9)
        util = int(np.clip(round(100 * share), 1, 95))
        bandwidth = int(np.clip(round(100 * share * r.uniform(0.3, 1.2)), 1, 95))
        drawn.add((int(memory), util, bandwidth))
    profiles = sorted(drawn, reverse=True)
    p = 1.0 / np.arange(1, m + 1) ** 0.8
    r.shuffle(p)
    counts = r.multinomial(max(0, n - m), p / p.sum()) + 1
    return Instance(C=[NET_MIB, 100, 100], w=[list(x) for x in profiles], d=[int(x) for x in counts], known=None)


def aggregate(capacity: list[int], items: Iterable[tuple[int, ...]], known: int | None = None) -> Instance:
    """Make an instance from single loads by counting equal ones."""
    count = Counter(items)
    kinds = sorted(count, reverse=True)
    return Instance(C=capacity, w=[list(k) for k in kinds], d=[count[k] for k in kinds], known=known)


def triplets(n: int, seed: int) -> Instance:
    """Draw triplets: each GPU of the optimum has one model of 38 to 49 % of the memory and two that fill the rest."""
    r = random.Random(seed)
    items = []
    for _ in range(n // 3):
        a = r.randint(int(0.38 * NET_MIB), int(0.49 * NET_MIB))
        b = r.randint(int(0.25 * NET_MIB), (NET_MIB - a) // 2)
        items += [(a, 1, 1), (b, 1, 1), (NET_MIB - a - b, 1, 1)]
    return aggregate([NET_MIB, 100, 100], items, known=n // 3)


def perfect(n: int, seed: int) -> Instance:
    """Draw models whose optimum uses every GPU's utilization in full, with free memory and memory utilization."""
    r = random.Random(seed)
    items: list[tuple[int, ...]] = []
    gpus = 0
    while len(items) < n:
        k = r.randint(2, 6)
        cuts = sorted(r.sample(range(1, 100), k - 1))
        utils = [b - a for a, b in zip([0, *cuts], [*cuts, 100], strict=True)]
        weights = [r.random() + 0.2 for _ in utils]
        memory = [max(100, int(0.97 * NET_MIB * w / sum(weights))) for w in weights]
        items += [(x, u, max(1, int(u * r.uniform(0.3, 1.0)))) for x, u in zip(memory, utils, strict=True)]
        gpus += 1
    return aggregate([NET_MIB, 100, 100], items, known=gpus)


def uniform(n: int, seed: int) -> Instance:
    """Draw one resource with loads of 20 to 100 of 150, the ranges of Falkenauer's class U (1996)."""
    r = random.Random(f"uniform {n} {seed}")
    return aggregate([150], [(r.randint(20, 100),) for _ in range(n)])


def hard(n: int, seed: int) -> Instance:
    """Draw one resource with loads of 1 to 800 of 1000 that nearly fill the GPUs: the ranges of the class Hard28.

    Loads are drawn until a plan at the volume's bound would waste at most a hundredth of one GPU and first-fit
    decreasing misses it. Hard28 itself (Schoenfield, 2002; Belov and Scheithauer, 2006), in `data/hard28`, was also
    chosen for instances that other methods could not prove, so it is harder.
    """
    r = random.Random(f"hard {n} {seed}")
    while True:
        loads = [r.randint(1, 800) for _ in range(n)]
        gpus = -(-sum(loads) // 1000)
        if gpus * 1000 - sum(loads) <= 10 and first_fit_decreasing(loads, 1000) > gpus:
            return aggregate([1000], [(x,) for x in loads])


def first_fit_decreasing(loads: Iterable[int], capacity: int) -> int:
    """Return the GPUs used when the largest loads go first, each to the first GPU with room."""
    rooms: list[int] = []
    for load in sorted(loads, reverse=True):
        for i, room in enumerate(rooms):
            if load <= room:
                rooms[i] -= load
                break
        else:
            rooms.append(capacity - load)
    return len(rooms)


def vector_class(k: int, n: int, seed: int) -> Instance:
    """Draw two resources with the ranges of Caprara and Toth (2001), classes 1, 2, 4, 5, 6 and 7."""
    r = random.Random(100000 * k + 1000 * seed + n)
    ranges = {1: (100, 400, 1000), 2: (1, 1000, 1000), 4: (50, 200, 1000), 5: (25, 100, 1000)}
    low, high, capacity = ranges.get(k, (20, 100, 150))
    items = []
    for _ in range(n):
        a = r.randint(low, high)
        items.append((a, r.randint(a - 10, a + 10) if k == 7 else r.randint(low, high)))
    return aggregate([capacity, capacity], items)


def write(instance: Instance, out: Path) -> None:
    """Write profiles and demand; the second and third resource are scaled to percent, a missing one is 0."""
    out.mkdir(parents=True, exist_ok=True)
    scale = [1.0, *(100 / c for c in instance["C"][1:])]
    with (out / "metrics-model.csv").open("w", newline="") as f:
        rows = csv.writer(f)
        rows.writerow(COLUMNS)
        for i, kind in enumerate(instance["w"]):
            r = [*(v * s for v, s in zip(kind, scale, strict=True)), 0.0, 0.0]
            own = (r[0] + SERVER_MIB, SERVER_MIB, r[0], f"{r[1]:.10g}", f"{r[2]:.10g}")
            rows.writerow([f"m{i:05d}", "gpu", 1, 1, "ok", 100, *own])
    with (out / "demand.csv").open("w", newline="") as f:
        rows = csv.writer(f)
        rows.writerow(["model", "replicas"])
        rows.writerows([f"m{i:05d}", n] for i, n in enumerate(instance["d"]))
