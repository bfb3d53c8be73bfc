"""Verify a plan of two models on one GPU: their processes take turns on it, or share it through MPS."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

SHARE = 0.3  # of the throughput that each delivers alone at batch 1 and concurrency 1
MPS = "nvidia-cuda-mps-control"
_TIMEOUT_S = 600
_DEMAND = """[[model]]
model = "{model}"
rate_infer_per_s = {rate}
together = ["pair"]
"""


def verify_together(
    models: Sequence[str], rows: Sequence[Mapping[str, str]], repository: Path, results: Path, options: Sequence[str]
) -> None:
    """Plan models on one GPU at a share of their throughput, and verify that plan without and with MPS.

    Each of the two has a copy of `results` of its own, so that none rests on what the other measured.

    Parameters
    ----------
    rows : sequence of mapping
        Rows of the ``metrics-model.csv`` of `results`.
    options : sequence of str
        More options of ``plan verify``.
    """
    if importlib.util.find_spec("ortools") is None:
        click.echo(f"\nNo plan was verified: {sys.executable} has no ortools, which plans")
        return
    missing = [model for model in models if _rate(model, rows) is None]
    if missing:
        click.echo(f"\nNo plan was verified: {', '.join(missing)} has no figures at batch 1 and concurrency 1")
        return
    demand = results / "demand.toml"
    demand.write_text(demand_of(models, rows))
    shared = results.with_name(f"{results.name}-mps")
    shutil.copytree(results, shared)
    no_daemon = results / "no-mps"  # else a daemon of the machine would be used
    click.echo("\nTwo models on one GPU, whose processes take turns on it")
    _plan_and_verify(results, repository, options, {"CUDA_MPS_PIPE_DIRECTORY": str(no_daemon)})
    if any(" MIG " in row["device"] for row in rows):
        click.echo("\nThe models ran on a MIG slice, where MPS is not tried")
    elif shutil.which(MPS) is None:
        click.echo(f"\nMPS was not tried: there is no {MPS}")
    else:
        click.echo("\nTwo models on one GPU, which share it through MPS")
        with mps_daemon(shared / "mps") as environment:
            _plan_and_verify(shared, repository, options, environment)


def demand_of(models: Sequence[str], rows: Sequence[Mapping[str, str]]) -> str:
    """Return the demand file: each model at `SHARE` of its throughput, all of them on the same GPU."""
    return "\n".join(_DEMAND.format(model=model, rate=SHARE * (_rate(model, rows) or 0.0)) for model in models)


def _rate(model: str, rows: Sequence[Mapping[str, str]]) -> float | None:
    """Return what a model delivered at batch 1 and concurrency 1; None where it was not measured."""
    point = (model, "1", "1")
    found = [row for row in rows if (row["model"], row["batch"], row["concurrency"]) == point]
    text = found[0]["throughput_infer_per_s"] if found else ""
    return float(text) if text else None


def _plan_and_verify(results: Path, repository: Path, options: Sequence[str], environment: Mapping[str, str]) -> None:
    placement = results / "placement.json"
    _plan(
        *("solve", str(results), "--demand", str(results / "demand.toml"), "--interference", "none"),
        *("--max-utilization", "200", "--max-memory-utilization", "200"),  # whole operating points of two models
        *("--batch", "1", "--concurrency", "1", "--gpu-memory", "16GiB", "-o", str(placement)),
        environment=environment,
    )
    _plan(
        *("verify", str(placement), str(results), "--launch-mode", "local", "--model-folder", str(repository)),
        *options,
        environment=environment,
    )


def _plan(command: str, *arguments: str, environment: Mapping[str, str]) -> None:
    """Run a subcommand of ``plan``, which prints its tables; that a plan does not hold is a result."""
    program = [sys.executable, "-c", "from planner.cli.main import main; main()", command]
    done = subprocess.run([*program, *arguments], env={**os.environ, **environment}, timeout=_TIMEOUT_S, check=False)
    if done.returncode not in ((0, 1) if command == "verify" else (0,)):
        raise click.ClickException(f"plan {command} ended with status {done.returncode}")


@contextmanager
def mps_daemon(folder: Path) -> Iterator[dict[str, str]]:
    """Run an MPS daemon in a folder; yield the environment of the programs that are to use it.

    It needs no root and changes no setting of the GPU: other programs do not look for it in this folder.
    https://docs.nvidia.com/deploy/mps/index.html
    """
    pipes, logs = folder / "pipe", folder / "log"
    for each in (pipes, logs):
        each.mkdir(parents=True)
    environment = {"CUDA_MPS_PIPE_DIRECTORY": str(pipes), "CUDA_MPS_LOG_DIRECTORY": str(logs)}
    everything = {**os.environ, **environment}
    started = subprocess.run([MPS, "-d"], env=everything, capture_output=True, text=True, timeout=60, check=False)
    if started.returncode:
        raise click.ClickException(f"{MPS} -d ended with status {started.returncode}: {started.stderr.strip()}")
    try:
        yield environment
    finally:
        subprocess.run([MPS], input="quit\n", env=everything, capture_output=True, text=True, timeout=60, check=False)
