"""Measure PyTorch models on the GPU by `analyze`, and compare with the figures of PyTorch and CUDA."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from benchmarks.gpu.co_location import verify_together

MODELS = Path(__file__).with_name("models")
BATCHES = "1,4,16"
_MIB = 1 << 20
_TIMEOUT_S = 900
_CONFIG = """name: "{name}"
backend: "python"
max_batch_size: 16
input {{ name: "X" data_type: TYPE_FP32 dims: [ 1 ] }}
output {{ name: "Y" data_type: TYPE_FP32 dims: [ 1 ] }}
instance_group {{ count: 1 kind: {kind} }}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A model of the repository: its code, and the parameters of its configuration."""

    code: str
    parameters: Mapping[str, str] = field(default_factory=dict)


NETWORKS = {
    f"{size}_{short}": Variant(code="network", parameters={"width": str(width), "depth": str(depth), "dtype": dtype})
    for size, width, depth in (("small", 512, 8), ("medium", 2048, 16), ("large", 4096, 32))
    for short, dtype in (("fp32", "float32"), ("fp16", "float16"))
}
TOGETHER = ("small_fp32", "medium_fp16")
DUTY_CYCLES = {f"duty_{ms}": Variant(code="duty", parameters={"kernel_ms": str(ms)}) for ms in (2, 5, 8)}


@click.command(context_settings={"max_content_width": 100})
@click.option("--try-on-cpu", is_flag=True, help="Try the benchmark itself without a GPU; its figures mean nothing.")
def main(*, try_on_cpu: bool) -> None:
    """Sweep PyTorch models of three sizes in fp32 and fp16, and models of known duty cycle, on the first GPU.

    Prints the sweep, the measured memory beside that of PyTorch's allocator and CUDA context, and the measured
    utilization beside the duty cycle; then verifies a plan with two of the models on one GPU, without and with MPS.
    """
    if not try_on_cpu:
        _require_gpu()
    with tempfile.TemporaryDirectory(prefix="tritonpack-gpu-") as name:
        folder = Path(name)
        kind = "KIND_CPU" if try_on_cpu else "KIND_GPU"
        together = ("small_fp32", "small_fp16") if try_on_cpu else TOGETHER
        networks = {name: NETWORKS[name] for name in together} if try_on_cpu else NETWORKS
        options = ["--precision", "30", "--max-trial-seconds", "2"] if try_on_cpu else []
        swept = _analyze(folder / "networks", networks, kind, ["--batch", BATCHES, "--concurrency", "1,4", *options])
        duties = _analyze(folder / "duties", DUTY_CYCLES, kind, ["--concurrency", "1", *options])
        if try_on_cpu:
            click.echo("\nTried on the CPU: no figure of a GPU was measured.")
        else:
            click.echo(f"\nDevice: {swept[0]['device']}")
        _print_memory(swept, folder / "networks")
        _print_duty(duties, folder / "duties")
        verify_together(together, swept, folder / "networks" / "models", folder / "networks" / "results", options)


def _require_gpu() -> None:
    """Raise a one-line error where there is no GPU that PyTorch can use."""
    try:
        import torch
    except ImportError:
        raise click.ClickException(f"{sys.executable} has no PyTorch; nothing was measured") from None
    if not torch.cuda.is_available():
        raise click.ClickException(f"no NVIDIA GPU here (PyTorch {torch.__version__} sees none); nothing was measured")


def _analyze(folder: Path, models: Mapping[str, Variant], kind: str, options: list[str]) -> list[dict[str, str]]:
    """Run ``analyze`` with its defaults on these models, show its table, and return the rows of its CSV."""
    repository = folder / "models"
    for name, variant in models.items():
        shutil.copytree(MODELS / variant.code, repository / name)
        parameters = {**variant.parameters, "report": str(folder / f"{name}.json")}
        lines = [f'parameters {{ key: "{k}" value {{ string_value: "{v}" }} }}\n' for k, v in parameters.items()]
        (repository / name / "config.pbtxt").write_text(_CONFIG.format(name=name, kind=kind) + "".join(lines))
    # by its entry point: with --wheels the packages are on the path only, without their commands
    command = [sys.executable, "-c", "from analyzer.cli.main import main; main()", "--launch-mode", "local"]
    command += ["--model-folder", str(repository), "-o", str(folder / "results"), "--export", *options]
    done = subprocess.run(command, timeout=_TIMEOUT_S, check=False)
    table = folder / "results" / "metrics-model.csv"
    if not table.exists():
        raise click.ClickException(f"analyze ended with status {done.returncode} and without results")
    return list(csv.DictReader(table.read_text().splitlines()))


def _report(folder: Path, name: str) -> dict[str, Any]:
    """Read the report that a model wrote when it was unloaded; empty where there is none."""
    try:
        found: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
    except (OSError, ValueError):
        return {}
    return found


def _print_memory(rows: list[dict[str, str]], folder: Path) -> None:
    click.echo("\nMemory of a model in MiB, as analyze has it, beside PyTorch's allocator and its context")
    click.echo(
        f"{'model':<14}{'batch':>6}{'concurrency':>13}{'analyze':>10}{'reserved':>10}{'context':>9}{'off by':>9}"
    )
    for row in rows:
        report = _report(folder, row["model"])
        # the allocator frees nothing: every row has the highest figure of the batches up to its own
        reserved = max((n for b, n in report.get("reserved", {}).items() if int(b) <= int(row["batch"])), default=None)
        measured = float(row["model_memory_mib"]) if row["model_memory_mib"] else None
        line = f"{row['model']:<14}{row['batch']:>6}{row['concurrency']:>13}{_cell(measured):>10}"
        if reserved is None or measured is None or not report["context"]:
            click.echo(f"{line}{'unknown':>10}{'unknown':>9}{'unknown':>9}")
            continue
        reference = (reserved + report["context"]) / _MIB
        context = report["context"] / _MIB
        click.echo(f"{line}{reserved / _MIB:>10.0f}{context:>9.0f}{measured / reference - 1:>+9.1%}")


def _print_duty(rows: list[dict[str, str]], folder: Path) -> None:
    click.echo("\nUtilization in %, as analyze has it, beside the share of the time in which the kernel ran")
    click.echo(f"{'model':<14}{'requests/s':>12}{'mean':>8}{'max':>8}{'SM mean':>9}{'kernel':>8}")
    for row in rows:
        duty = _report(folder, row["model"]).get("duty")
        columns = ("mean_utilization_pct", "max_utilization_pct", "sm_utilization_pct")
        mean, highest, sm = (_cell(float(row[column]) if row[column] else None) for column in columns)
        rate = _cell(float(row["throughput_infer_per_s"]) if row["throughput_infer_per_s"] else None)
        kernel = "unknown" if duty is None else f"{duty:.1%}"
        click.echo(f"{row['model']:<14}{rate:>12}{mean:>8}{highest:>8}{sm:>9}{kernel:>8}")


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


if __name__ == "__main__":
    main()
