"""The options of `analyze`, in the groups that its help shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from analyzer.cli.params import Address, DynamicBatching, FileName, Names, Numbers, Processes, Real, Shape, Word
from analyzer.errors import UsageError

Command = TypeVar("Command", bound=Callable[..., Any])

MODEL_CSV = "metrics-model.csv"
SERVER_ONLY_CSV = "metrics-server-only.csv"
LAUNCH_MODES = ("auto", "docker", "local", "remote")
_FOLDER = click.Path(path_type=Path)


class GroupedOption(click.Option):
    """An option that knows the group of the help that it stands in."""

    group = "Options"


class GroupedCommand(click.Command):
    """A command whose help shows options by group, and whose usage errors are one line."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, each under its group's heading."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                groups.setdefault(getattr(param, "group", "Others"), []).append(record)
        for group, records in groups.items():
            with formatter.section(group):
                formatter.write_dl(records)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Parse the command line; what cannot be taken is told in one line, without the usage above it."""
        try:
            return super().make_context(*args, **kwargs)
        except click.UsageError as error:
            raise UsageError(" ".join(error.format_message().split())) from None


def _option(*names: str, **attributes: Any) -> Callable[[Command], Command]:
    attributes.setdefault("show_default", attributes.get("default") not in (None, ()))
    if attributes.get("is_flag"):
        attributes["show_default"] = False
    return click.option(*names, cls=GroupedOption, **attributes)


_GROUPS = {
    "What is measured": (
        _option("--model-folder", type=_FOLDER, metavar="DIR",
                help="Model repository, never written to.  [default: the sample models]"),
        _option("--model-names", type=Names(), default=(), help="Models to measure.  [default: every model]"),
        _option("--batch", type=Numbers(int), default="1", help="Batch sizes to try."),
        _option("--concurrency", type=Numbers(int), default="1", help="Numbers of requests to keep in flight."),
        _option("--request-rate", type=Numbers(float), default=(),
                help="Requests to send per second, in place of a concurrency; timed from when each was due."),
        _option("--arrivals", type=click.Choice(("poisson", "constant")), default="poisson",
                help="Gaps between requests that are sent at a rate."),
        _option("--instances", type=Numbers(int), default=(),
                help="Instance counts to try.  [default: the model's own configuration]"),
        _option("--dynamic-batching", type=DynamicBatching(), default=(),
                help="Settings of the dynamic batcher to try, with the delay to fill a batch, as off,on:100us.  "
                     "[default: the model's own]"),
        _option("--max-batch-size", type=Numbers(int), default=(),
                help="Values of the model's max_batch_size to try.  [default: its own]"),
        _option("--config", type=_FOLDER, metavar="FILE",
                help="YAML file of these options, and of others for single models; the command line wins."),
    ),
    "How it is searched": (
        _option("--search", type=click.Choice(("grid", "climb")), default="grid",
                help="grid: every batch at every concurrency. climb: raise the concurrency until throughput stops "
                     "growing, narrow down the knee, then do the same with twice the instances."),
        _option("--max-concurrency", type=click.IntRange(1, 65536), default=1024, metavar="N",
                help="Where a climb ends at the latest."),
        _option("--max-instances", type=click.IntRange(1, 1024), default=8, metavar="N",
                help="The same for instances. Those of --instances are tried as they are; on a server that runs "
                     "already, instances are raised only where this is given."),
        _option("--latency-p99-ms", type=Real(0, 1e6, min_open=True), metavar="MS",
                help="The p99 latency that a climb must not pass."),
        _option("--find-peak", is_flag=True,
                help="Find the highest request rate that keeps --latency-p99-ms, to 5 %."),
    ),
    "How sure it must be": (
        _option("--precision", type=Real(0, 100, min_open=True), default=5.0, metavar="PCT",
                help="Half width of the 95 % interval of throughput that ends a trial; p99 gets twice it."),
        _option("--max-trial-seconds", type=Real(1, 86400), default=15.0, metavar="S",
                help="Longest trial."),
        _option("--request-timeout", type=Real(0.1, 86400), default=30.0, metavar="S",
                help="A server silent for so long hangs."),
        _option("--load-timeout", type=Real(1, 86400), default=600.0, metavar="S",
                help="Longest load of a model."),
    ),
    "What is sent": (
        _option("--shape", "shapes", type=Shape(), multiple=True,
                help="Dimensions of an input whose length varies; may be repeated."),
        _option("--input-data", type=_FOLDER, metavar="FILE|DIR",
                help="Real inputs in perf_analyzer's JSON, or a folder with a raw file an input.  [default: random]"),
        _option("--sequence-length", type=click.IntRange(1, 100_000), default=20, metavar="N",
                help="Requests of a sequence of random inputs, for models that keep state over requests."),
        _option("--protocol", type=click.Choice(("http", "grpc")),
                help="How requests travel.  [default: http; grpc for decoupled models]"),
        _option("--grpc-url", type=Address(), help="gRPC address of a server that runs already.  "
                "[default: port 8001 of the same host]"),
        _option("--shared-memory", type=click.Choice(("none", "system")), default="none",
                help="system: tensors lie in shared memory, so that carrying them is not measured."),
        _option("--client-processes", type=Processes(), default="auto",
                help="Processes that send the load. auto: one, and more where it turns out to be the limit, up to half "
                     "of this host's processors."),
        _option("--seed", type=click.IntRange(0, 2**31), default=0, metavar="N",
                help="Seed of random inputs and arrivals."),
    ),
    "Where Triton runs": (
        _option("--launch-mode", type=click.Choice(LAUNCH_MODES), default="auto",
                help="A container, this host, a server that runs already, or what is there."),
        _option("--triton-version", type=Word("TAG"), default="24.10-py3",
                help="NVIDIA's release of the Triton container."),
        _option("--triton-image", type=Word("IMAGE"), help="Another image than NVIDIA's."),
        _option("--gpus", type=Names(), default=(),
                help="GPUs by index or UUID; the sweep is spread over them.  [default: the first, and all like it]"),
        _option("--http-port", type=click.IntRange(1, 65535), metavar="PORT",
                help="Port of a Triton that is started.  [default: free]"),
        _option("--grpc-port", type=click.IntRange(1, 65535), metavar="PORT", help="The same for gRPC."),
        _option("--metrics-port", type=click.IntRange(1, 65535), metavar="PORT", help="The same for its metrics."),
        _option("--url", type=Word("HOST:PORT"), help="HTTP address of a server that runs already."),
        _option("--metrics-url", type=Word("URL"), help="Its metrics page.  [default: port 8002 of the same host]"),
        _option("--dcgm-url", type=Word("URL"),
                help="The DCGM exporter's page beside it, for SM and DRAM figures; it must collect them every second "
                     "(dcgm-exporter --collect-interval 1000)."),
        _option("--check", is_flag=True, help="Say what can be measured on this host, what not and why; then end."),
    ),
    "Where results go": (
        _option("-o", "--output", type=_FOLDER, default="results", metavar="DIR",
                help="Folder of the store; measurements in it are not made again."),
        _option("--store", type=Word("URL"), help="Store elsewhere, such as postgresql://user@host/database."),
        _option("--fresh", is_flag=True, help="Measure also what the store has."),
        _option("--export", is_flag=True, help="Write the CSV files and the plots."),
        _option("--export-path", type=_FOLDER, metavar="DIR",
                help="Folder of the export.  [default: the output folder]"),
        _option("--filename-model", type=FileName(), default=MODEL_CSV, help="CSV of the models."),
        _option("--filename-server-only", type=FileName(), default=SERVER_ONLY_CSV, help="CSV of the idle server."),
    ),
}  # fmt: skip


def sweep_options(command: Command) -> Command:
    """Give a command every option of a sweep."""
    for group, options in reversed(_GROUPS.items()):
        for option in reversed(options):
            command = option(command)
            command.__click_params__[-1].group = group  # type: ignore[attr-defined]
    return command
