"""Who may import whom: packages one way, modules without cycles, each dependency behind its door."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("analyzer", "planner", "reports")  # each may import itself and those before it
# The floors of each package, from the top: a room imports rooms of lower floors only, and itself.
FLOORS = {
    "analyzer": (
        {"cli"},
        {"sweep"},
        {"statistics", "load"},
        {"search", "models", "devices"},
        {"servers", "measurements"},
        {"formats"},
        {"errors"},
        {""},  # the package itself: its version, and the doors of its API
    ),
    "planner": (
        {"cli"},
        {"explanation"},
        {"planning"},
        {"replan"},
        {"placement"},
        {"formulation", "solver"},
        {"inputs", "problem"},
        {""},
    ),
}
DOORS = {
    "click": ("*.cli", "*.cli.*"),
    "docker": ("analyzer.servers.docker", "analyzer.servers.docker_container"),
    "hpack": ("analyzer.load.grpc_http2",),
    "jinja2": ("reports.page",),
    "jsonschema": ("planner.placement.file",),
    "matplotlib": ("*_figure", "*_figures", "*.figures", "analyzer.formats.figure_style"),
    "numba": ("planner.solver.column_generation.knapsack", "planner.solver.column_generation.knapsack_dp"),
    "ortools": ("planner.solver.cp_sat.*", "planner.solver.column_generation.master", "planner.replan.cp_sat_moves"),
    "pandas": ("*.frame",),
    "pynvml": ("analyzer.devices.nvml", "analyzer.devices.nvml_*"),
    "rich": ("analyzer.cli.*",),
    "sqlalchemy": ("analyzer.measurements.store",),
    "tritonclient": ("analyzer.servers.control", "analyzer.load.kserve"),
    "yaml": ("analyzer.sweep.sweep_file",),
}
HEAVY = ("docker", "google", "jinja2", "matplotlib", "numpy", "ortools", "pandas", "sqlalchemy", "tritonclient")


@cache
def modules() -> dict[str, Path]:
    """Find our modules by their dotted names."""
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return {name_of(path): path for path in paths}


def name_of(path: Path) -> str:
    """Turn a file's path into its module's name."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    """Name the room that a module stands in: the folder, or the file, below its package."""
    return [*module.split("."), ""][1]


@cache
def imports(module: str) -> frozenset[str]:
    """Read what a module imports, at its top and inside functions; what only type checkers read does not count."""
    tree = ast.parse(modules()[module].read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports by a relative name; we write them out"
            source = node.module or ""
            found.update(
                f"{source}.{alias.name}" if f"{source}.{alias.name}" in modules() else source for alias in node.names
            )
    return frozenset(found)


def test_packages_import_one_way() -> None:
    """Reports may import the planner and the analyzer, the planner the analyzer, and none of them backwards."""
    wrong = [
        f"{module} imports {imported}"
        for module in modules()
        for imported in imports(module)
        if imported.split(".")[0] in PACKAGES[PACKAGES.index(module.split(".")[0]) + 1 :]
    ]
    assert not wrong


def test_modules_import_without_cycles() -> None:
    """No module imports itself by way of others, not even inside functions."""
    graph = {module: imports(module) & modules().keys() - {module} for module in modules()}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the cycle


@pytest.mark.parametrize("package", sorted(FLOORS))
def test_rooms_import_downwards(package: str) -> None:
    """A room imports only rooms below its own, and every room has its floor: at most eleven to find one's way in."""
    floor_of = {room: number for number, rooms in enumerate(FLOORS[package]) for room in rooms}
    rooms = {room_of(module) for module in modules() if module.split(".")[0] == package}
    assert rooms == floor_of.keys()
    assert len(rooms - {""}) <= 11
    wrong = [
        f"{module} imports {imported}"
        for module in modules()
        for imported in imports(module)
        if module.split(".")[0] == imported.split(".")[0] == package
        and room_of(module) != room_of(imported)
        and floor_of[room_of(imported)] <= floor_of[room_of(module)]
    ]
    assert not wrong


def test_solver_sees_only_the_problem() -> None:
    """Whatever a plan is made of, the solver is given integers and nothing else."""
    wrong = [
        f"{module} imports {imported}"
        for module in modules()
        if module.startswith("planner.solver")
        for imported in imports(module)
        if imported.startswith(PACKAGES) and not imported.startswith(("planner.solver", "planner.problem"))
    ]
    assert not wrong


@pytest.mark.parametrize("dependency", sorted(DOORS))
def test_each_dependency_has_one_door(dependency: str) -> None:
    """Only the modules that are its door import a dependency, so that it can be replaced there."""
    wrong = [
        module
        for module in modules()
        if any(imported.split(".")[0] == dependency for imported in imports(module))
        and not any(fnmatch(module, door) for door in DOORS[dependency])
    ]
    assert not wrong
    importing = [m for m in modules() if any(imported.split(".")[0] == dependency for imported in imports(m))]
    stale = [door for door in DOORS[dependency] if not any(fnmatch(module, door) for module in importing)]
    assert not stale


@pytest.mark.parametrize("module", ["analyzer.cli.main", "planner.cli.main", "reports.cli", *PACKAGES])
def test_command_starts_without_what_is_heavy(module: str) -> None:
    """A command line, and the import of a package, is there at once: it loads none of the large libraries."""
    show = f"import sys, {module}; print(*sorted({set(HEAVY)!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == []


def test_no_module_is_called_utils() -> None:
    """Each file has one reason to be, and its name says which."""
    stems = {path.stem for path in modules().values()}
    assert not stems & {"utils", "util", "helpers", "common", "misc"}
