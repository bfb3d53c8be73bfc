"""The options of `analyze`, in the groups that its help shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from analyzer.cli.command import GroupedOption
from analyzer.cli.option_types import click_option
from analyzer.formats.option_values import options_of
from analyzer.sweep.settings import SweepSettings

Command = TypeVar("Command", bound=Callable[..., Any])

_SETTINGS = options_of(SweepSettings)


def _option(name: str, help_: str, *short: str) -> Callable[[Command], Command]:
    return click_option(name, _SETTINGS[name], help_, *short, cls=GroupedOption)


_GROUPS = {
    "What is measured": (
        _option("model_folder", "Model repository, never written to.  [default: the sample models]"),
        _option("model_names", "Models to measure.  [default: every model]"),
        _option("batches", "Batch sizes to try."),
        _option("concurrencies", "Numbers of requests to keep in flight."),
        _option("request_rates_per_s",
                "Requests to send per second, in place of a concurrency; timed from when each was due."),
        _option("arrivals", "Gaps between requests that are sent at a rate."),
        _option("instances", "Instance counts to try.  [default: the model's own configuration]"),
        _option("dynamic_batching",
                "Settings of the dynamic batcher to try, with the delay to fill a batch, as off,on:100us.  "
                "[default: the model's own]"),
        _option("max_batch_sizes", "Values of the model's max_batch_size to try.  [default: its own]"),
        click.option("--config", cls=GroupedOption, type=click.Path(path_type=Path), metavar="FILE",
                     help="YAML file of these options, and of others for single models; the command line wins."),
    ),
    "How it is searched": (
        _option("search",
                "grid: every batch at every concurrency. climb: raise the concurrency until throughput stops "
                "growing, narrow down the knee, then do the same with twice the instances."),
        _option("max_concurrency", "Where a climb ends at the latest."),
        _option("max_instances",
                "The same for instances. Those of --instances are tried as they are; on a server that runs "
                "already, instances are raised only where this is given."),
        _option("latency_p99_ms", "The p99 latency that a climb must not pass."),
        _option("find_peak", "Find the highest request rate that keeps --latency-p99-ms, to 5 %."),
    ),
    "How sure it must be": (
        _option("precision_pct", "Half width of the 95 % interval of throughput that ends a trial; p99 gets twice it."),
        _option("max_trial_s", "Longest trial."),
        _option("request_timeout_s", "A server silent for so long hangs."),
        _option("load_timeout_s", "Longest load of a model."),
    ),
    "What is sent": (
        _option("shapes", "Dimensions of an input whose length varies; may be repeated."),
        _option("input_data",
                "Real inputs in perf_analyzer's JSON, or a folder with a raw file an input.  [default: random]"),
        _option("sequence_length",
                "Requests of a sequence of random inputs, for models that keep state over requests."),
        _option("protocol", "How requests travel.  [default: http; grpc for decoupled models]"),
        _option("grpc_url", "gRPC address of a server that runs already.  [default: port 8001 of the same host]"),
        _option("shared_memory", "system: tensors lie in shared memory, so that carrying them is not measured."),
        _option("client_processes",
                "Processes that send the load. auto: one, and more where it turns out to be the limit, up to half"
                " of this host's processors.  [default: auto]"),
        _option("seed", "Seed of random inputs and arrivals."),
    ),
    "Where Triton runs": (
        _option("launch_mode", "A container, this host, a server that runs already, or what is there."),
        _option("triton_version", "NVIDIA's release of the Triton container."),
        _option("triton_image", "Another image than NVIDIA's."),
        _option("gpus", "GPUs by index or UUID; the sweep is spread over them.  [default: the first, and all like it]"),
        _option("http_port", "Port of a Triton that is started.  [default: free]"),
        _option("grpc_port", "The same for gRPC."),
        _option("metrics_port", "The same for its metrics."),
        _option("url", "HTTP address of a server that runs already."),
        _option("metrics_url", "Its metrics page.  [default: port 8002 of the same host]"),
        _option("dcgm_url",
                "The DCGM exporter's page beside it, for SM and DRAM figures; it must collect them every second "
                "(dcgm-exporter --collect-interval 1000)."),
        click.option("--check", cls=GroupedOption, is_flag=True,
                     help="Say what can be measured on this host, what not and why; then end."),
    ),
    "Where results go": (
        _option("output", "Folder of the store; measurements in it are not made again.", "-o"),
        _option("store", "Store elsewhere, such as postgresql://user@host/database."),
        _option("fresh", "Measure also what the store has."),
        _option("export", "Write the CSV files and the plots."),
        _option("export_path", "Folder of the export.  [default: the output folder]"),
        _option("filename_model", "CSV of the models."),
        _option("filename_server_only", "CSV of the idle server."),
    ),
}  # fmt: skip


def sweep_options(command: Command) -> Command:
    """Give a command every option of a sweep."""
    for group, options in reversed(_GROUPS.items()):
        for option in reversed(options):
            command = option(command)
            command.__click_params__[-1].group = group  # type: ignore[attr-defined]
    return command
