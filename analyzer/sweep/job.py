"""Build the job of a sweep: its models and their variants, how each is searched, and what requests carry."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from analyzer.errors import ModelError, UsageError
from analyzer.formats.suggestions import suggest
from analyzer.load.input_data import read_input_data
from analyzer.load.prompts import LanguageNames
from analyzer.load.tensors import build_steps
from analyzer.load.workload import Workload
from analyzer.measurements.record import Trial, Variant
from analyzer.models.repository import Model, select
from analyzer.search import Axes, SearchMethod
from analyzer.search.strategy import Strategy
from analyzer.servers.remote_models import RemoteModels
from analyzer.sweep.remote import check_remote, read_models_of
from analyzer.sweep.settings import SweepSettings

ModelVariant = tuple[Model, Variant]  # one is loaded alone and measured before the next is loaded


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a sweep measures.

    Parameters
    ----------
    models : sequence of Model
    repository : mapping of str to Model
        Every model of the repository by its name: those measured may need others.
    variants : mapping of str to sequence of Variant
        The variants of each model, by its name.
    strategies : mapping of str to Strategy
        How each model is searched, by its name.
    workload : Workload
        What requests carry, and their protocol.
    notes : sequence of str
        Remarks for the user on what is left out.
    """

    models: Sequence[Model]
    repository: Mapping[str, Model]
    variants: Mapping[str, Sequence[Variant]]
    strategies: Mapping[str, Strategy]
    workload: Workload = field(default_factory=Workload)
    notes: Sequence[str] = ()

    @property
    def model_variants(self) -> list[ModelVariant]:
        """Every variant of every model; each is loaded alone."""
        return [(model, variant) for model in self.models for variant in self.variants[model.name]]

    @property
    def exact_points(self) -> int | None:
        """Trials that the sweep has if none is left out; None where a search or a failed load decides their number."""
        is_exact = all(self.strategies[model.name].is_exact and not model.error for model in self.models)
        return self.points if is_exact else None

    @property
    def points(self) -> int:
        """Trials that the sweep has at most; see `Strategy.points`."""
        return sum(
            self.strategies[model.name].points(largest_batch(model, variant))
            for model, variant in self.model_variants
            if not model.error
        )


def largest_batch(model: Model, variant: Variant) -> int | None:
    """Return the largest batch that a variant takes; None if it is not known before Triton is asked."""
    return model.max_batch_size if variant.max_batch_size is None else variant.max_batch_size


def build_job(settings: SweepSettings, remote: RemoteModels | None = None) -> Job:
    """Read the repository and the inputs, and build the job; nothing is started.

    Parameters
    ----------
    remote : RemoteModels, optional
        The models of a server that is already running. Those that are loaded there are measured as they are, unless
        `allow_reload` is set.

    Raises
    ------
    UsageError
        If settings contradict each other, the repository or what is loaded on the server.
    ServerError
        If the server does not load models on request, and one that is not loaded is to be measured.
    """
    repository = read_models_of(settings, remote)
    known = {model.name: model for model in repository}
    for name in settings.per_model:
        if name not in known:
            where = settings.where.get(name, "`per_model`")
            raise UsageError(f"{where}: no model '{name}'; {suggest(name, known)}")
    repository = tuple(_with_also_loaded(model, settings, known) for model in repository)
    known = {model.name: model for model in repository}
    models = select(repository, settings.model_names)
    strategies, variants, notes = {}, {}, []
    if remote is not None:
        notes += check_remote(settings, models, remote)
    for model in models:
        own = settings.of(model.name)
        strategies[model.name] = _strategy(own, f" (model {model.name})" if model.name in settings.per_model else "")
        variants[model.name], left_out = _fitting(model, _variants(own), strategies[model.name].axes)
        notes += left_out
        if model.error:
            notes.append(f"{model.name} cannot be loaded: {model.error}")
        elif model.calls:
            notes.append(f"{model.name} is measured with {', '.join(model.calls)}, which its code names")
    _check_shapes(settings, models)
    return Job(
        models=models,
        repository=known,
        variants=variants,
        strategies=strategies,
        workload=_workload(settings, models),
        notes=tuple(notes),
    )


def _with_also_loaded(model: Model, settings: SweepSettings, known: Mapping[str, Model]) -> Model:
    """Return a model with the models that are to be loaded with it, if it is measured."""
    if settings.model_names and model.name not in settings.model_names:
        return model
    also_load = settings.of(model.name).also_load
    for name in also_load:
        if name not in known:
            where = f" (model {model.name})" if model.name in settings.per_model else ""
            raise UsageError(f"`also_load`: no model {name!r} in the repository; {suggest(name, known)}{where}")
    return replace(model, also_load=tuple(name for name in also_load if name != model.name))


def _strategy(settings: SweepSettings, where: str) -> Strategy:
    climbs, rates = settings.search == SearchMethod.CLIMB, settings.request_rates_per_s
    budget_ms, is_given = settings.latency_p99_ms, settings.is_given
    for wrong, text in (
        (climbs and is_given("concurrencies"),
         "`search='climb'` finds the concurrencies by itself: drop `concurrencies`, or bound it with "
         "`max_concurrency`"),
        (climbs and rates,
         "`search='climb'` raises a concurrency: drop `request_rates_per_s`, or find it with `find_peak=True`"),
        (rates and is_given("concurrencies"),
         "`request_rates_per_s` takes the place of `concurrencies`: give one of them"),
        (rates and settings.find_peak,
         "`find_peak=True` finds the request rate by itself: drop `request_rates_per_s`"),
        (settings.find_peak and budget_ms is None, "`find_peak=True` needs the latency to keep: `latency_p99_ms`"),
        (budget_ms is not None and not climbs and not settings.find_peak,
         "`latency_p99_ms` bounds a climb or a peak: add `search='climb'` or `find_peak=True`"),
        (is_given("max_concurrency") and not climbs, "`max_concurrency` bounds a climb: add `search='climb'`"),
        (is_given("max_instances") and not climbs, "`max_instances` bounds a climb: add `search='climb'`"),
        (is_given("max_instances") and settings.instances,
         "`max_instances` bounds what a climb raises, and `instances` names what is tried: drop one of them"),
        (is_given("arrivals") and not rates and not settings.find_peak,
         "`arrivals` is about requests at a rate: add `request_rates_per_s` or `find_peak=True`"),
        (settings.input_lengths and settings.input_data,
         "`input_lengths` makes the prompts, and `input_data` has them: drop one of them"),
        (settings.input_lengths and settings.shared_memory != "none",
         "`input_lengths` sends another prompt with each request, which shared memory cannot: drop `shared_memory`"),
    ):  # fmt: skip
        if wrong:
            raise UsageError(text + where)
    return Strategy(
        axes=Axes(
            batches=settings.batches,
            concurrencies=settings.concurrencies,
            request_rates_per_s=rates,
            input_lengths=settings.input_lengths,
            output_lengths=settings.output_lengths,
        ),
        method=SearchMethod(settings.search),
        max_concurrency=settings.max_concurrency,
        max_instances=_max_instances(settings),
        latency_p99_s=None if budget_ms is None else budget_ms / 1e3,
        find_peak=settings.find_peak,
        arrivals=settings.arrivals,
    )


def _max_instances(settings: SweepSettings) -> int:
    """Return the most instances of a climb: 1 if `instances` is given, and by default on a remote server."""
    if settings.search != SearchMethod.CLIMB or settings.instances:
        return 1
    return 1 if settings.url and not settings.is_given("max_instances") else settings.max_instances


def _variants(settings: SweepSettings) -> list[Variant]:
    """Return every combination of the values of the settings that are varied."""
    return [
        Variant(
            instances=instances,
            dynamic_batching=batching and batching[0],
            max_queue_delay_s=batching[1] if batching else 0.0,
            max_batch_size=size,
        )
        for instances, batching, size in itertools.product(
            settings.instances or (None,),
            settings.dynamic_batching or (None,),
            settings.max_batch_sizes or (None,),
        )
    ]


def _fitting(model: Model, variants: Sequence[Variant], axes: Axes) -> tuple[list[Variant], list[str]]:
    """Return the variants that take at least one of the batches, and notes on the batches that are left out."""
    kept, notes = [], []
    for variant in variants:
        largest = largest_batch(model, variant)
        taken = axes.batches_for(largest)
        left = ", ".join(str(batch) for batch in axes.batches if batch not in taken)
        name = model.name if variant == Variant() else f"{model.name} ({variant.name})"
        if taken:
            kept.append(variant)
        if left:
            what = f"max_batch_size {largest}" if largest else "no batching"
            notes.append(f"{name} has {what}: left out batch {left}")
    if not kept:
        most = max((v.max_batch_size or 0 for v in variants), default=0) or model.max_batch_size or 1
        asked = ",".join(map(str, axes.batches))
        raise UsageError(f"{model.name} takes batches up to {most}; `batches={asked!r}` leaves none to try")
    return kept, notes


def _workload(settings: SweepSettings, models: Sequence[Model]) -> Workload:
    """Read the inputs, and check them against every model whose configuration is already known."""
    only_grpc = (settings.url or "").startswith(("grpc://", "grpcs://"))
    if only_grpc and settings.protocol == "http":
        raise UsageError(f"`url` {settings.url} is a gRPC endpoint: drop `protocol='http'`, or name its HTTP endpoint")
    workload = Workload(
        protocol="grpc" if only_grpc else settings.protocol,
        shared_memory=settings.shared_memory == "system",
        shapes=dict(settings.shapes),
        data=read_input_data(settings.input_data) if settings.input_data else None,
        sequence_length=settings.sequence_length,
        seed=settings.seed,
        names={model.name: _language_names(settings.of(model.name)) for model in models},
    )
    _check_prompts(workload, settings, models)
    if workload.data is not None:
        for model in models:
            if model.inputs and not model.error:
                try:
                    build_steps(model, 1, shapes=workload.shapes, data=workload.data)
                except ModelError as error:
                    raise UsageError(f"`input_data`: {error.message}") from None
    return workload


def _language_names(settings: SweepSettings) -> LanguageNames:
    return LanguageNames(
        prompt_input=settings.prompt_input,
        output_length_input=settings.output_length_input,
        input_tokens_output=settings.input_tokens_output,
        output_tokens_output=settings.output_tokens_output,
    )


def _check_prompts(workload: Workload, settings: SweepSettings, models: Sequence[Model]) -> None:
    """Reject lengths that a model has no inputs for, and names that it does not have, if its inputs are known."""
    for model in models:
        own = settings.of(model.name)
        if not model.inputs or model.error:
            continue
        trial = Trial(
            model=model.name,
            input_length=max(own.input_lengths, default=None),
            output_length=max(own.output_lengths, default=None),
        )
        try:
            workload.check_names(model, trial)
        except ModelError as error:
            raise UsageError(error.message) from None


def _check_shapes(settings: SweepSettings, models: Sequence[Model]) -> None:
    """Reject a shape for an input that no model has, if the inputs of all models are known."""
    inputs = {entry.name for model in models for entry in model.inputs}
    inputs |= {f"{model.name}:{entry.name}" for model in models for entry in model.inputs}
    if any(not model.inputs and not model.error for model in models):
        return
    for name, _dims in settings.shapes:
        if name not in inputs:
            raise UsageError(f"`shapes`: no model has the input {name}; {suggest(name, inputs)}")
