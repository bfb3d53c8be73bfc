"""Test the imports: packages in one direction, no cycles, and each dependency only in the modules chosen for it."""

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
# The layers of each package, from the top: a subpackage imports only itself and subpackages of lower layers.
LAYERS = {
    "analyzer": (
        {"cli"},
        {"sweep"},
        {"statistics", "load"},
        {"search", "models", "devices"},
        {"servers", "measurements"},
        {"formats"},
        {"errors"},
        {""},  # the package itself: its version and its API
    ),
    "planner": (
        {"cli"},
        {"verification", "export"},
        {"explanation"},
        {"planning"},
        {"replan"},
        {"placement"},
        {"formulation", "solver"},
        {"inputs", "problem", "interference"},
        {""},
    ),
}
MODULES_OF = {
    "click": ("*.cli", "*.cli.*"),
    "docker": ("analyzer.servers.docker", "analyzer.servers.docker_container"),
    "fsspec": ("analyzer.models.fetch",),
    "hpack": ("analyzer.load.grpc_http2",),
    "jinja2": ("reports.page",),
    "jsonschema": ("analyzer.formats.json_document",),
    "matplotlib": ("*_figure", "*_figures", "*.figures", "analyzer.formats.figure_style"),
    "numba": (
        "planner.solver.column_generation.close_patterns",
        "planner.solver.column_generation.content_search",
        "planner.solver.column_generation.cover_kernel",
        "planner.solver.column_generation.knapsack",
        "planner.solver.column_generation.knapsack_dp",
        "planner.solver.column_generation.leaders",
        "planner.solver.column_generation.subset_rows",
        "planner.solver.column_generation.surrogate",
    ),
    "onnxruntime": ("analyzer.servers.onnx_backend.model",),  # in Triton's Python stub
    "ortools": (
        "planner.solver.cp_sat.*",
        "planner.solver.column_generation.master",
        "planner.solver.column_generation.room_master",
        "planner.solver.column_generation.set_partitioning",
        "planner.replan.cp_sat_moves",
    ),
    "pandas": ("*.frame",),
    "plotly": ("reports.plotly_script",),
    "pynvml": ("analyzer.devices.nvml", "analyzer.devices.nvml_*"),
    "ray": ("analyzer.sweep.ray_*",),
    "rich": ("analyzer.cli.*",),
    "sqlalchemy": ("analyzer.measurements.store",),
    "grpc": ("analyzer.servers.grpc_transport",),
    "tritonclient": ("analyzer.servers.grpc_transport", "analyzer.load.kserve"),
    "yaml": ("analyzer.sweep.sweep_file", "planner.export.yaml_text"),
}
HEAVY = (
    *("docker", "google", "grpc", "jinja2", "matplotlib", "numpy", "onnxruntime", "ortools", "pandas", "plotly", "ray"),
    *("sqlalchemy", "tritonclient"),
)


@cache
def modules() -> dict[str, Path]:
    """Find the modules of the three packages by their dotted names."""
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return {name_of(path): path for path in paths}


def name_of(path: Path) -> str:
    """Return the dotted name of the module in this file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def subpackage_of(module: str) -> str:
    """Return a module's subpackage: the name of the folder or file below its package."""
    return [*module.split("."), ""][1]


@cache
def imports(module: str) -> frozenset[str]:
    """Return what a module imports, also inside functions; imports under TYPE_CHECKING do not count."""
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
    """reports may import planner and analyzer, planner may import analyzer, and not the other way round."""
    wrong = [
        f"{module} imports {imported}"
        for module in modules()
        for imported in imports(module)
        if imported.split(".")[0] in PACKAGES[PACKAGES.index(module.split(".")[0]) + 1 :]
    ]
    assert not wrong


def test_modules_import_without_cycles() -> None:
    """No module imports itself through others, not even inside functions."""
    graph = {module: imports(module) & modules().keys() - {module} for module in modules()}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the cycle


@pytest.mark.parametrize("package", sorted(LAYERS))
def test_subpackages_import_only_lower_layers(package: str) -> None:
    """A subpackage imports only those of lower layers; each has a layer, and a package has at most twelve."""
    layer_of = {subpackage: number for number, subpackages in enumerate(LAYERS[package]) for subpackage in subpackages}
    subpackages = {subpackage_of(module) for module in modules() if module.split(".")[0] == package}
    assert subpackages == layer_of.keys()
    assert len(subpackages - {""}) <= 12
    wrong = [
        f"{module} imports {imported}"
        for module in modules()
        for imported in imports(module)
        if module.split(".")[0] == imported.split(".")[0] == package
        and subpackage_of(module) != subpackage_of(imported)
        and layer_of[subpackage_of(imported)] <= layer_of[subpackage_of(module)]
    ]
    assert not wrong


def test_solver_sees_only_the_problem() -> None:
    """planner.solver imports nothing of the three packages but planner.problem, so it works on integers alone."""
    wrong = [
        f"{module} imports {imported}"
        for module in modules()
        if module.startswith("planner.solver")
        for imported in imports(module)
        if imported.startswith(PACKAGES) and not imported.startswith(("planner.solver", "planner.problem"))
    ]
    assert not wrong


@pytest.mark.parametrize("dependency", sorted(MODULES_OF))
def test_each_dependency_is_imported_only_in_its_modules(dependency: str) -> None:
    """Only the modules listed for a dependency import it, so that it can be replaced there; no entry is unused."""
    wrong = [
        module
        for module in modules()
        if any(imported.split(".")[0] == dependency for imported in imports(module))
        and not any(fnmatch(module, pattern) for pattern in MODULES_OF[dependency])
    ]
    assert not wrong
    importing = [m for m in modules() if any(imported.split(".")[0] == dependency for imported in imports(m))]
    stale = [pattern for pattern in MODULES_OF[dependency] if not any(fnmatch(module, pattern) for module in importing)]
    assert not stale


@pytest.mark.parametrize("module", ["analyzer.cli.main", "planner.cli.main", "reports.cli", *PACKAGES])
def test_commands_start_without_heavy_libraries(module: str) -> None:
    """Importing a package or a command line loads none of the large libraries, so that commands start at once."""
    show = f"import sys, {module}; print(*sorted({set(HEAVY)!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == []


def test_no_module_is_called_utils() -> None:
    """No module has a name such as utils, which does not say what the module is for."""
    stems = {path.stem for path in modules().values()}
    assert not stems & {"utils", "util", "helpers", "common", "misc"}
