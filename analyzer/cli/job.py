"""Options → what is to be measured; everything is checked here before a server starts."""

from __future__ import annotations

import itertools
from pathlib import Path

import click

from analyzer.cli.merge import Options
from analyzer.errors import ModelError, UsageError
from analyzer.load.input_data import read_input_data
from analyzer.load.tensors import build_steps
from analyzer.load.workload import Traffic
from analyzer.measurements.record import Variant
from analyzer.models.repository import Model, read_repository, select
from analyzer.output.suggestions import suggest
from analyzer.run import Job
from analyzer.search.grid import Axes
from analyzer.search.strategy import Course, Method


def build_job(options: Options) -> Job:
    """Read the repository and the options.

    Raises
    ------
    UsageError
        If options contradict each other or the repository.
    """
    repository = read_repository(options["model_folder"] or sample_models())
    known = {model.name: model for model in repository}
    for name, line in options.file.lines.items():
        if name not in known:
            raise UsageError(f"{options['config']}, line {line}: no model '{name}'; {suggest(name, known)}")
    models = select(repository, options["model_names"])
    courses, variants = {}, {}
    for model in models:
        own = options.of(model.name)
        courses[model.name] = _course(own, model.name)
        variants[model.name] = _fitting(model, _variants(own), courses[model.name].axes)
    _check_shapes(options, models)
    return Job(
        models=models,
        repository=known,
        variants=variants,
        courses=courses,
        traffic=_traffic(options, models),
    )


def sample_models() -> Path:
    """Find the sample models, which are installed beside this package."""
    return Path(__file__).parents[2] / "sample_models"


def _course(options: Options, model: str) -> Course:
    climbs, rates = options["search"] == Method.CLIMB, options["request_rate"]
    where = f" (model {model})" if options.file.models.get(model) else ""
    for wrong, text in (
        (climbs and "concurrency" in options.given,
         "--search climb finds the concurrencies by itself: drop --concurrency, or bound it with --max-concurrency"),
        (climbs and rates, "--search climb raises a concurrency: drop --request-rate, or find it with --find-peak"),
        (rates and "concurrency" in options.given,
         "--request-rate takes the place of --concurrency: give one of them"),
        (rates and options["find_peak"], "--find-peak finds the request rate by itself: drop --request-rate"),
        (options["find_peak"] and options["latency_p99_ms"] is None,
         "--find-peak needs the latency to keep: --latency-p99-ms"),
        (options["latency_p99_ms"] is not None and not climbs and not options["find_peak"],
         "--latency-p99-ms bounds a climb or a peak: add --search climb or --find-peak"),
        ("max_concurrency" in options.given and not climbs, "--max-concurrency bounds a climb: add --search climb"),
        ("max_instances" in options.given and not climbs, "--max-instances bounds a climb: add --search climb"),
        ("max_instances" in options.given and options["instances"],
         "--max-instances bounds what a climb raises, and --instances names what is tried: drop one of them"),
        ("arrivals" in options.given and not rates and not options["find_peak"],
         "--arrivals is about requests at a rate: add --request-rate or --find-peak"),
    ):  # fmt: skip
        if wrong:
            raise UsageError(text + where)
    budget_ms = options["latency_p99_ms"]
    return Course(
        axes=Axes(batches=options["batch"], concurrencies=options["concurrency"], request_rates_per_s=rates),
        method=Method(options["search"]),
        max_concurrency=options["max_concurrency"],
        max_instances=_max_instances(options),
        latency_p99_s=None if budget_ms is None else budget_ms / 1e3,
        find_peak=options["find_peak"],
        arrivals=options["arrivals"],
    )


def _max_instances(options: Options) -> int:
    """Where a climb of instances ends: at once where they are named, or the server is somebody else's."""
    if options["search"] != Method.CLIMB or options["instances"]:
        return 1
    most: int = options["max_instances"]
    return 1 if options["url"] and "max_instances" not in options.given else most


def _variants(options: Options) -> list[Variant]:
    """Cross the values of every part of the configuration that is varied."""
    return [
        Variant(
            instances=instances,
            dynamic_batching=batching and batching[0],
            max_queue_delay_s=batching[1] if batching else 0.0,
            max_batch_size=size,
        )
        for instances, batching, size in itertools.product(
            options["instances"] or (None,),
            options["dynamic_batching"] or (None,),
            options["max_batch_size"] or (None,),
        )
    ]


def _fitting(model: Model, variants: list[Variant], axes: Axes) -> list[Variant]:
    """Drop the variants that take none of the batches, and say which batches are left out."""
    kept = []
    for variant in variants:
        largest = model.max_batch_size if variant.max_batch_size is None else variant.max_batch_size
        taken = axes.batches_for(largest)
        left = ", ".join(str(batch) for batch in axes.batches if batch not in taken)
        name = model.name if variant == Variant() else f"{model.name} ({variant.name})"
        if taken:
            kept.append(variant)
        if left:
            what = f"max_batch_size {largest}" if largest else "no batching"
            click.echo(f"{name} has {what}: left out batch {left}", err=True)
    if not kept:
        largest = max((v.max_batch_size or 0 for v in variants), default=0) or model.max_batch_size or 1
        asked = ",".join(map(str, axes.batches))
        raise UsageError(f"{model.name} takes batches up to {largest}; --batch {asked} leaves none to try")
    return kept


def _traffic(options: Options, models: tuple[Model, ...]) -> Traffic:
    """Read what requests carry, and try it on every model whose configuration is known by now."""
    if options["grpc_url"] and not options["url"]:
        raise UsageError("--grpc-url belongs to a running server: name it with --url host:8000")
    traffic = Traffic(
        protocol=options["protocol"],
        shared_memory=options["shared_memory"] == "system",
        grpc_address=options["grpc_url"],
        shapes=dict(options["shapes"]),
        data=read_input_data(options["input_data"]) if options["input_data"] else None,
        sequence_length=options["sequence_length"],
        seed=options["seed"],
    )
    if traffic.data is not None:
        for model in models:
            if model.inputs and not model.error:
                try:
                    build_steps(model, 1, shapes=traffic.shapes, data=traffic.data)
                except ModelError as error:
                    raise UsageError(f"--input-data: {error.message}") from None
    return traffic


def _check_shapes(options: Options, models: tuple[Model, ...]) -> None:
    """Refuse a shape for an input that no model has, as far as the configurations tell."""
    inputs = {entry.name for model in models for entry in model.inputs}
    inputs |= {f"{model.name}:{entry.name}" for model in models for entry in model.inputs}
    if any(not model.inputs and not model.error for model in models):
        return
    for name, _dims in options["shapes"]:
        if name not in inputs:
            raise UsageError(f"--shape {name}: no model has this input; {suggest(name, inputs)}")
