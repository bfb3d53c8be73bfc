"""The options of `analyze`, in the groups that its help shows."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, TypeVar

import click

from analyzer.cli.command import GroupedOption
from analyzer.cli.option_types import option_of
from analyzer.sweep.settings import SweepSettings

Command = TypeVar("Command", bound=Callable[..., Any])

_option = option_of(SweepSettings, cls=GroupedOption)


_GROUPS = {
    "What is measured": (
        _option("model_folder",
                "Model repository, never written to.  [default: the sample models, or those of the server at --url]"),
        _option("model_uri",
                "Fetch the repository, a tar or zip archive or a folder, from file://, http:// or https://, or with "
                "fsspec from s3:// and others. With --ray each node fetches it."),
        _option("model_names", "Models to measure.  [default: every model]"),
        _option("also_load",
                "Models that are loaded with each measured one, such as a model that an input names; their memory "
                "counts as its own. Models that a Python model's code names are found by themselves."),
        _option("batches", "Batch sizes to try."),
        _option("concurrencies", "Numbers of requests to keep in flight."),
        _option("request_rates_per_s",
                "Requests to send per second, instead of a concurrency; latency counts from when each was due."),
        _option("arrivals", "Gaps between requests that are sent at a rate."),
        _option("input_lengths",
                "Lengths of a language model's prompts to try, in words or token ids; every request has a prompt of "
                "its own."),
        _option("output_lengths", "Numbers of tokens to ask of a language model."),
        _option("instances", "Instance counts to try.  [default: the model's own configuration]"),
        _option("dynamic_batching",
                "Settings of the dynamic batcher to try, such as off,on:100us with the delay to fill a batch.  "
                "[default: the model's own]"),
        _option("max_batch_sizes", "Values of the model's max_batch_size to try.  [default: its own]"),
        click.option("--config", cls=GroupedOption, type=click.Path(path_type=Path), metavar="FILE",
                     help="YAML file with these options, also for single models; the command line wins."),
    ),
    "How it is searched": (
        _option("search",
                "grid: every batch at every concurrency. climb: raise the concurrency until throughput stops "
                "growing, narrow down the knee, then do the same with twice the instances."),
        _option("max_concurrency", "Highest concurrency of a climb."),
        _option("max_instances",
                "Highest number of instances of a climb. Those of --instances are tried as given; on a server that is "
                "already running, instances are raised only if this is given."),
        _option("latency_p99_ms", "Highest p99 latency that a climb or a peak may have."),
        _option("find_peak", "Find the highest request rate within --latency-p99-ms, to 5 %."),
    ),
    "Precision and time limits": (
        _option("precision_pct",
                "Half width of the 95 % confidence interval of throughput at which a trial ends; twice that for p99."),
        _option("max_trial_s", "Longest duration of a trial."),
        _option("request_timeout_s", "Time without a response after which a server counts as hanging."),
        _option("load_timeout_s", "Longest time to load a model."),
    ),
    "What is sent": (
        _option("shapes", "Dimensions of an input whose length varies; may be repeated."),
        _option("input_data",
                "Real inputs: a file in perf_analyzer's JSON, or a folder with one raw file for each input.  "
                "[default: random]"),
        _option("sequence_length",
                "Requests in a sequence of random inputs, for models that keep state across requests."),
        _option("prompt_input", "Input that holds the prompt.  [default: text_input or input_ids]"),
        _option("output_length_input",
                "Input that takes the number of tokens to answer with.  "
                "[default: max_tokens, request_output_len or sampling_parameters]"),
        _option("input_tokens_output",
                "Output that reports the tokens of the request.  [default: num_input_tokens]"),
        _option("output_tokens_output",
                "Output that reports the tokens of each response; without one, responses are counted.  "
                "[default: num_output_tokens]"),
        _option("protocol", "Protocol of the requests.  [default: http; grpc for decoupled models]"),
        _option("grpc_url",
                "gRPC address of a server that is already running; without a scheme it has TLS if --url has.  "
                "[default: port 8001 of the same host]"),
        _option("shared_memory", "system: tensors lie in shared memory, so that their transfer is not measured."),
        _option("client_processes",
                "Processes that send the load. auto: one, and more if it limits the throughput, up to half of this "
                "host's processors.  [default: auto]"),
        _option("seed", "Seed of random inputs and arrivals."),
    ),
    "Where Triton runs": (
        _option("launch_mode",
                "docker: in a container. local: as a process of this host. remote: on a server that is already "
                "running. auto: whichever of these is available."),
        _option("triton_version", "NVIDIA's release of the Triton container."),
        _option("triton_image", "Image to use instead of NVIDIA's."),
        _option("gpus",
                "GPUs by index or UUID; the sweep is spread over them.  [default: the first, and all of its kind]"),
        _option("http_port", "HTTP port of a Triton that is started.  [default: a free port]"),
        _option("grpc_port", "gRPC port of a Triton that is started.  [default: a free port]"),
        _option("metrics_port", "Metrics port of a Triton that is started.  [default: a free port]"),
        _option("url",
                "Address of a server that is already running, which is left as it was found: host:8000, https://host, "
                "or grpc://host:8001 and grpcs://host if everything is to go over gRPC."),
        _option("allow_reload",
                "Unload models that were loaded on that server, measure them with memory and other configurations, "
                "and load them again as they were.  [default: they are measured as they are]"),
        _option("metrics_url",
                "Metrics page of that server; without one, memory and utilization are left empty.  [default: the port "
                "in the settings of a Triton of this host, the one beside that of --url, or 8002]"),
        _option("dcgm_url",
                "DCGM exporter's page on that server's host, for SM and DRAM figures; the exporter must collect them "
                "every second (dcgm-exporter --collect-interval 1000)."),
        _option("reserve_cores",
                "Processors that each server has for itself and its load, where several run on a host.  [default: they "
                "share all]"),
        click.option("--check", cls=GroupedOption, is_flag=True,
                     help="Show what can be measured on this host, what cannot and why; then exit."),
    ),
    "On a Ray cluster": (
        _option("ray",
                "Measure on every GPU of this cluster, each with its own Triton; auto: the cluster of this host; "
                "local: one of this command alone. A node that is lost costs one turn, which is done again elsewhere."),
        _option("per_node", "Most servers on a node.  [default: one for each GPU; one on a node without GPUs]"),
        _option("per_device_type",
                "all: measure everything once on each type of device of the cluster. NAME: use this type only.  "
                "[default: the only type]"),
    ),
    "Access to a server that is already running": (
        _option("ssl_ca", "Certificates of the server's authority, in PEM.  [default: those that this host trusts]"),
        _option("ssl_certificate", "Certificate of this client, in PEM, for a server that asks for one."),
        _option("ssl_key", "Key of that certificate.  [default: in the same file]"),
        _option("headers",
                "Header of every request, such as X-Tenant:demo; may be repeated. Others on this host see command "
                "lines: give secrets by the options below."),
        _option("token_file",
                "File with a bearer token, sent as 'Authorization: Bearer ...'; read again for every trial."),
        _option("token_env", "Environment variable with a bearer token."),
    ),
    "Where results go": (
        _option("output", "Folder of the store; trials that it has figures of are not measured again.", "-o"),
        _option("store", "Another store, such as postgresql://user@host/database."),
        _option("fresh", "Measure again what the store already has."),
        _option("export", "Write the CSV files and the plots."),
        _option("export_path", "Folder of the export.  [default: the output folder]"),
        _option("filename_model", "Name of the models' CSV file."),
        _option("filename_server_only", "Name of the idle server's CSV file."),
    ),
}  # fmt: skip


def sweep_options(command: Command, names: Collection[str] | None = None) -> Command:
    """Give a command every option of a sweep, or those with these names."""
    for group, options in reversed(_GROUPS.items()):
        for option in reversed(options):
            command = option(command)
            added = command.__click_params__[-1]  # type: ignore[attr-defined]
            added.group = group
            if names is not None and added.name not in names:
                command.__click_params__.pop()  # type: ignore[attr-defined]
    return command
