"""The cases of the benchmark, their targets, and the problem of each."""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from pathlib import Path

from benchmarks.packing import days, fleets
from benchmarks.packing.slowed import slowed
from planner.inputs.mig_geometry import boards, geometries
from planner.problem.problem import GpuType, Layout, Option, Place, Problem, Task

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One row of the table."""

    name: str
    target: str  # "331*": this cost, proven; "634/633": cost and bound; "proven": any proven cost
    kind: str
    sizes: tuple[int, ...] = ()
    seed: int = 1


def cases() -> Iterator[Case]:
    """Yield every case of the table, within a kind from small to large."""
    yield Case(name="seed9-mem", target="4*", kind="seed", sizes=(1,))
    yield Case(name="seed9-thr", target="6*", kind="seed", sizes=(3,))
    targets = {
        (50, 20): ("15*", "8*"),
        (200, 50): ("87*", "25*"),
        (1_000, 100): ("331*", "140*"),
        (5_000, 200): ("1767*", "634/633"),
        (20_000, 200): ("7125*", "2534*"),
        (100_000, 200): ("35503*", "12708*"),
    }
    for (n, m), (large, small) in targets.items():
        yield Case(name=f"gpuL-N{n}-m{m}", target=large, kind="gpuL", sizes=(n, m))
        yield Case(name=f"gpuS-N{n}-m{m}", target=small, kind="gpuS", sizes=(n, m))
    for k, gpus in enumerate((2, 3, 5, 7, 12, 15), start=1):
        yield Case(name=f"ParvaGPU-S{k}", target=f"{gpus}*", kind="parvagpu", sizes=(k,))
    for n, seed in ((60, 1), (120, 1), (249, 1), (249, 2), (501, 1), (501, 2)):
        name = f"triplets-{n}" if seed == 1 else f"triplets-{n}-s{seed}"
        yield Case(name=name, target=f"{n // 3}*", kind="triplets", sizes=(n,), seed=seed)
    for n in (60, 120, 300, 501):
        yield Case(name=f"perfect-{n}", target="known*", kind="perfect", sizes=(n,))
    for n in (120, 250, 500, 1_000):
        yield Case(name=f"uniform-{n}", target="proven", kind="uniform", sizes=(n,))
    for n, seed in ((160, 1), (160, 2), (180, 1), (180, 2), (200, 1), (200, 2)):
        yield Case(name=f"hard-{n}-s{seed}", target="<= first-fit", kind="hard", sizes=(n,), seed=seed)
    for number, (optimum, _) in hard28().items():
        yield Case(name=f"hard28-{number}", target=f"{optimum}*", kind="hard28", sizes=(number,))
    for n, cost in ((20, "112*"), (50, "236*"), (200, "gap < 2 %")):
        yield Case(name=f"mixed-{n}", target=cost, kind="mixed", sizes=(n,))
    sizes = (50, 200, 1_000)
    yield from (Case(name=f"slowed-{n}", target="gap < 5 %", kind="slowed", sizes=(n,)) for n in sizes)
    yield Case(name="hours-200", target="gap < 2 %", kind="hours", sizes=(200,))
    yield Case(name="peaks-200", target="proven", kind="peaks", sizes=(200,))
    ct = ((1, 50, 12), (1, 100, 27), (1, 200, 51), (2, 100, 64), (4, 25, 4), (4, 50, 7), (5, 50, 4))
    for k, n, gpus in (*ct, (6, 100, 41), (6, 200, 82), (7, 100, 41), (7, 200, 82)):
        yield Case(name=f"CTlike{k}-n{n}", target=f"{gpus}*", kind="vector", sizes=(k, n))
    yield Case(name="openb-default", target="1965*", kind="openb_default")
    yield Case(name="openb-gpushare100", target="4482*", kind="openb_gpushare100")


def problem_of(case: Case) -> tuple[Problem, int | None]:
    """Draw or read the problem of a case; return it with its optimum, None where that is not known."""
    if case.kind == "mixed":
        return mixed(case.sizes[0]), None
    if case.kind == "slowed":
        return slowed(case.sizes[0], case.seed), None
    if case.kind in ("hours", "peaks"):
        return days.problem(case.sizes[0], case.seed, by_hour=case.kind == "hours"), None
    if case.kind == "parvagpu":
        return parvagpu(case.sizes[0]), None
    if case.kind.startswith("openb_"):
        return openb(case.kind.removeprefix("openb_")), None
    instance = drawn(case)
    return counted(instance["C"], instance["w"], instance["d"]), instance["known"]


def drawn(case: Case) -> fleets.Instance:
    """Draw or read the instance of a case of copies of models on one GPU type."""
    if case.kind == "seed":
        loads = [(1152, 23, 1), (4726, 56, 11), (1542, 43, 2), (6646, 60, 60), (6646, 79, 51)]
        loads += [(6646, 54, 54), (10742, 76, 53), (8270, 48, 48), (6646, 52, 52)]
        n = case.sizes[0]
        return fleets.aggregate([16075, 100, 100][:n], [load[:n] for load in loads])
    if case.kind in ("gpuL", "gpuS"):
        return fleets.gpu_fleet(case.sizes[0], case.sizes[1], few=case.kind == "gpuL", seed=case.seed)
    if case.kind == "vector":
        return fleets.vector_class(case.sizes[0], case.sizes[1], case.seed)
    if case.kind == "hard28":
        optimum, loads = hard28()[case.sizes[0]]
        return fleets.aggregate([1000], [(x,) for x in loads], known=optimum)
    draw = {"triplets": fleets.triplets, "perfect": fleets.perfect, "uniform": fleets.uniform, "hard": fleets.hard}
    return draw[case.kind](case.sizes[0], case.seed)


def hard28() -> dict[int, tuple[int, list[int]]]:
    """Read the class Hard28: by number of the instance, the optimum and the loads, on GPUs of 1000."""
    rows = _rows(DATA / "hard28" / "hard28.csv")
    return {int(r["instance"]): (int(r["optimum"]), [int(x) for x in r["loads"].split()]) for r in rows}


def counted(capacity: list[int], loads: list[list[int]], counts: list[int]) -> Problem:
    """Make the problem of placing copies of models on one GPU type."""
    names = ("memory", "utilization", "memory utilization")[: len(capacity)]
    return Problem(
        resources=names,
        places=(Place(name="gpu", capacity=tuple(capacity)),),
        gpus=(GpuType(name="gpu", layouts=(Layout(name="whole", places=(0,)),)),),
        tasks=tuple(
            Task(name=f"m{i:05d}", demand=n, options=(Option(place=0, load=tuple(load)),))
            for i, (load, n) in enumerate(zip(loads, counts, strict=True))
        ),
    )


def mixed(n: int) -> Problem:
    """Read a problem of three GPU types and three configurations per model; rates in thousandths, prices as costs."""
    folder = DATA / "mixed" / str(n)
    fleet = tomllib.loads((folder / "fleet.toml").read_text())["gpu"]
    types = [gpu["type"] for gpu in fleet]
    options: dict[str, list[Option]] = {}
    for row in _rows(folder / "metrics-model.csv"):
        load = (row["max_memory_mib"], row["max_utilization_pct"], row["max_memory_utilization_pct"])
        supply = floor(Fraction(row["throughput_infer_per_s"]) * 1000)
        place = types.index(row["device"])
        options.setdefault(row["model"], []).append(
            Option(place=place, load=tuple(int(x) for x in load), supply=supply)
        )
    return Problem(
        resources=("memory", "utilization", "memory utilization"),
        places=tuple(Place(name=g["type"], capacity=(g["memory_mib"], 100, 100)) for g in fleet),
        gpus=tuple(
            GpuType(name=g["type"], layouts=(Layout(name="whole", places=(i,)),), cost=g["cost_per_hour"])
            for i, g in enumerate(fleet)
        ),
        tasks=tuple(
            Task(
                name=row["model"],
                demand=ceil(Fraction(row["rate_infer_per_s"]) * 1000),
                options=tuple(options[row["model"]]),
            )
            for row in _rows(folder / "demand.csv")
        ),
    )


_MODELS = (
    "bert", "densenet121", "densenet169", "densenet201", "inceptionv3", "mobilenetv2",
    "resnet101", "resnet152", "resnet50", "vgg16", "vgg19",
)  # fmt: skip


def parvagpu(scenario: int) -> Problem:
    """Read ParvaGPU's profiles on A100 slices: one model per slice, at most 5 processes, p99 below 0.45 x SLO."""
    folder = DATA / "parvagpu_sc24"
    budgets = (folder / "SLO" / "SLO_latency.csv").read_text().splitlines()[scenario - 1].split(",")
    rates = (folder / "SLO" / "SLO_req_rate.csv").read_text().splitlines()[scenario - 1].split(",")
    slices, layouts = _slices()
    tasks = []
    for model, budget, rate in zip(_MODELS, budgets, rates, strict=True):
        if budget != "N/A":
            options = tuple(_slice_options(folder / "prof_data" / f"{model}.csv", Fraction(budget), slices))
            tasks.append(Task(name=model, demand=int(rate) * 1000, options=options))
    return Problem(
        resources=("slice",),
        places=tuple(Place(name=name, capacity=(1,)) for name, _ in slices),
        gpus=(GpuType(name="A100-80GB", layouts=layouts),),
        tasks=tuple(tasks),
    )


def _slices() -> tuple[list[tuple[str, int]], tuple[Layout, ...]]:
    """Return one MIG profile of an A100 for each number of compute slices, with that number, and the geometries."""
    board = next(b for name, b in sorted(boards().items()) if name.startswith("A100") and "80" in name)
    plain = {p.compute_slices: p for p in sorted(board.profiles, key=lambda p: (-p.memory_slices, "+" in p.name))}
    slices = [(p.name, size) for size, p in sorted(plain.items())]
    names = [name for name, _ in slices]
    layouts = tuple(
        Layout(
            name="+".join(cut.profile for cut in geometry),
            places=tuple(names.index(cut.profile) for cut in geometry),
            starts=tuple(cut.start for cut in geometry),
        )
        for geometry in geometries(board, frozenset(names))
    )
    return slices, layouts


def _slice_options(file: Path, slo_ms: Fraction, slices: list[tuple[str, int]]) -> Iterator[Option]:
    for row in _rows(file):
        latency_ms, processes = Fraction(row["Latency"]) * 1000, int(row["Workload Number"])
        if not 0 < latency_ms < slo_ms * Fraction(9, 20) or processes > 5:
            continue
        supply = floor(Fraction(row["Throughput"]) * processes * 1000)
        for place, (_, compute) in enumerate(slices):
            if compute == int(row["Mig instance"]) and supply:
                yield Option(place=place, load=(1,), supply=supply)


def openb(trace: str) -> Problem:
    """Read the pods that share a GPU in Alibaba's openb trace; the only resource is thousandths of a GPU."""
    rows = _rows(DATA / "alibaba_openb" / f"openb_types_{trace}.csv")
    shared = [row for row in rows if row["num_gpu"] == "1" and int(row["gpu_milli"]) < 1000]
    return counted([1000], [[int(row["gpu_milli"])] for row in shared], [int(row["count"]) for row in shared])


def _rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))
