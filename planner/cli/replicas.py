"""`plan replicas`: how many copies of one model fit on equal GPUs."""

from __future__ import annotations

import click

from analyzer.cli.command import Command
from analyzer.cli.option_types import click_type
from analyzer.errors import EXIT_INFEASIBLE, UsageError
from analyzer.formats.option_values import Number, Percent
from analyzer.formats.units import counted
from planner.cli.options import size_option
from planner.explanation.replica_count import count_replicas
from planner.inputs.fleet import Thresholds
from planner.inputs.gpu_catalogue import find_type
from planner.inputs.memory_size import format_size, to_bytes
from planner.inputs.profiles import OperatingPoint, Profile, at_configuration, least_memory, of_models, of_one_device

_COUNT = click_type(Number(1, whole=True))
_SHARE, _SUM = click_type(Percent(100)), click_type(Percent(1000))


@click.command(name="replicas", cls=Command)
@click.argument("profiles", metavar="[PROFILES]", required=False)
@click.option("--model", metavar="NAME", help="Count copies of this model of PROFILES.")
@click.option("--batch", type=_COUNT, metavar="N", help="Use the model's figures at this batch size.")
@click.option("--concurrency", type=_COUNT, metavar="N", help="Use the model's figures at this concurrency.")
@click.option("--device", metavar="NAME", help="Use only profiles measured on this device.")
@size_option("--model-memory", "model_memory_mib", "The model's memory, where it is not measured.")
@click.option("--utilization", "utilization_pct", type=_SHARE, metavar="PCT", help="GPU utilization of one copy.")
@click.option(
    "--memory-utilization", "memory_utilization_pct", type=_SHARE, metavar="PCT", help="Memory utilization of one copy."
)
@click.option("--gpu", metavar="TYPE", help="GPU type from the catalogue.")
@size_option("--gpu-memory", "gpu_memory_mib", "Memory of one GPU, such as 16GB; overrides --gpu.")
@click.option("--gpus", type=_COUNT, default=1, show_default=True, metavar="N", help="Number of GPUs.")
@size_option("--server-memory", "server_memory_mib", "Memory of the idle server on each GPU.", zero=True)
@click.option(
    "--max-memory",
    "max_memory_pct",
    type=_SHARE,
    default="70",
    show_default=True,
    metavar="PCT",
    help="Share of the GPU's memory that may be used; the rest is left for the work on requests.",
)
@click.option(
    "--max-utilization",
    "max_utilization_pct",
    type=_SUM,
    default="100",
    show_default=True,
    metavar="PCT",
    help="Highest sum of GPU utilization.",
)
@click.option("--max-memory-utilization", "max_memory_utilization_pct", type=_SUM, default="100", show_default=True,
              metavar="PCT", help="Highest sum of memory utilization.")  # fmt: skip
def command(
    profiles: str | None,
    model: str | None,
    batch: int | None,
    concurrency: int | None,
    device: str | None,
    model_memory_mib: float | None,
    utilization_pct: float | None,
    memory_utilization_pct: float | None,
    gpu: str | None,
    gpu_memory_mib: float | None,
    gpus: int,
    server_memory_mib: float | None,
    max_memory_pct: float,
    max_utilization_pct: float,
    max_memory_utilization_pct: float,
) -> None:
    """Say how many copies of one model fit.

    \b
    Copies of a 2 GB model on two 16 GB cards, of which 70 % may be used (10):
      plan replicas --model-memory 2GB --gpu-memory 16GB --gpus 2
    Copies of a profiled model, limited by its utilization as well:
      plan replicas results --model chest_xray --gpu T4
    """
    gpu_bytes = to_bytes(gpu_memory_mib) or (find_type(gpu).memory_bytes if gpu else None)
    model_bytes, server_bytes = to_bytes(model_memory_mib), to_bytes(server_memory_mib) or 0
    utilization = None if utilization_pct is None else utilization_pct / 100
    memory_utilization = None if memory_utilization_pct is None else memory_utilization_pct / 100
    if profiles is not None:
        profile, point = _measured(profiles, model, batch, concurrency, device, server_memory_mib)
        model_bytes = point.memory_bytes if model_bytes is None else model_bytes
        utilization = point.utilization if utilization is None else utilization
        memory_utilization = point.memory_utilization if memory_utilization is None else memory_utilization
        server_bytes = profile.server_memory_bytes
        gpu_bytes = gpu_bytes or profile.device_memory_bytes
    if model_bytes is None:
        raise UsageError("the model's memory is not known; give PROFILES with --model, or --model-memory 2GB")
    if not gpu_bytes:
        raise UsageError("the GPU's memory is not known; give --gpu-memory 16GB, or --gpu with a type")
    found = count_replicas(
        model_bytes=model_bytes,
        gpu_bytes=gpu_bytes,
        server_bytes=server_bytes,
        thresholds=Thresholds(
            memory=max_memory_pct / 100,
            utilization=max_utilization_pct / 100,
            memory_utilization=max_memory_utilization_pct / 100,
        ),
        utilization=utilization,
        memory_utilization=memory_utilization,
        n_gpus=gpus,
    )
    click.echo(
        f"{counted(found.total, 'replica')} on {counted(gpus, 'GPU')}, {found.per_gpu} on each:"
        f" limited by {found.limited_by} ({format_size(model_bytes)} a model on {format_size(gpu_bytes)})"
    )
    if not found.total:
        click.get_current_context().exit(EXIT_INFEASIBLE)


def _measured(
    source: str,
    model: str | None,
    batch: int | None,
    concurrency: int | None,
    device: str | None,
    server_memory_mib: float | None,
) -> tuple[Profile, OperatingPoint]:
    """The profile of the model, and its operating point with the least memory among those asked for."""
    from planner.inputs.profile_source import read_profiles

    profiles = of_one_device(read_profiles(source, server_memory_mib=server_memory_mib), device)
    if model is None:
        raise UsageError(
            f"--model is missing; the profiles are of {', '.join(sorted({p.model for p in profiles})[:12])}"
        )
    (profile,) = at_configuration(of_models(profiles, [model]), batch=batch, concurrency=concurrency)
    return profile, least_memory(profile)
