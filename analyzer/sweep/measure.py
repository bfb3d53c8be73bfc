"""Measure models from settings to results: the Python function `measure`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from analyzer.formats.option_values import options_of
from analyzer.load import SEQUENCE_LENGTH
from analyzer.measurements import MODEL_CSV, SERVER_ONLY_CSV
from analyzer.servers import DEFAULT_TRITON_VERSION
from analyzer.sweep.export import Export
from analyzer.sweep.observer import Recording
from analyzer.sweep.prepare import SweepResult, prepare
from analyzer.sweep.settings import SweepSettings
from analyzer.sweep.signals import Interrupted, sigint_as_interrupt
from analyzer.sweep.sweep_file import merge


def measure(
    model_folder: str | Path | None = None,
    *,
    model_uri: str | None = None,
    model_names: Sequence[str] = (),
    also_load: Sequence[str] = (),
    batches: int | Sequence[int] = (1,),
    concurrencies: int | Sequence[int] = (1,),
    request_rates_per_s: float | Sequence[float] = (),
    arrivals: str = "poisson",
    input_lengths: int | Sequence[int] = (),
    output_lengths: int | Sequence[int] = (),
    instances: int | Sequence[int] = (),
    dynamic_batching: bool | str | Sequence[bool | str] = (),
    max_batch_sizes: int | Sequence[int] = (),
    config: str | Path | None = None,
    search: str = "grid",
    max_concurrency: int = 1024,
    max_instances: int = 8,
    latency_p99_ms: float | None = None,
    find_peak: bool = False,
    precision_pct: float = 5.0,
    max_trial_s: float = 15.0,
    request_timeout_s: float = 30.0,
    load_timeout_s: float = 600.0,
    shapes: Mapping[str, Sequence[int]] | Sequence[str] = (),
    input_data: str | Path | None = None,
    sequence_length: int = SEQUENCE_LENGTH,
    prompt_input: str | None = None,
    output_length_input: str | None = None,
    input_tokens_output: str | None = None,
    output_tokens_output: str | None = None,
    protocol: str | None = None,
    grpc_url: str | None = None,
    shared_memory: str = "none",
    client_processes: int | None = None,
    seed: int = 0,
    launch_mode: str = "auto",
    triton_version: str = DEFAULT_TRITON_VERSION,
    triton_image: str | None = None,
    gpus: Sequence[str] = (),
    http_port: int | None = None,
    grpc_port: int | None = None,
    metrics_port: int | None = None,
    url: str | None = None,
    ssl_ca: str | Path | None = None,
    ssl_certificate: str | Path | None = None,
    ssl_key: str | Path | None = None,
    headers: Mapping[str, str] | Sequence[str] = (),
    token_file: str | Path | None = None,
    token_env: str | None = None,
    allow_reload: bool = False,
    metrics_url: str | None = None,
    dcgm_url: str | None = None,
    reserve_cores: int | None = None,
    ray: str | None = None,
    per_node: int | None = None,
    per_device_type: str | None = None,
    output: str | Path = "results",
    store: str | Path | None = None,
    fresh: bool = False,
    export: bool = False,
    export_path: str | Path | None = None,
    filename_model: str = MODEL_CSV,
    filename_server_only: str = SERVER_ONLY_CSV,
    per_model: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> SweepResult:
    """Measure throughput, latency, memory and utilization of models on Triton, as the command `analyze` does.

    Every model is loaded alone on one server, and every batch size is tried at every concurrency while memory,
    utilization and power of the device are recorded. Each result is stored at once: an interrupted sweep continues
    where it stopped, and a changed model is measured again. Nothing is printed, and nothing is left running.

    Parameters
    ----------
    model_folder : str or Path, optional
        Model repository, never written to; by default the sample models, or those of the server at `url`.
    model_uri : str, optional
        Where the repository is fetched from: a tar or zip archive or a folder behind ``file://``, ``http://``,
        ``https://``, or with the package fsspec ``s3://`` and others. With `ray` each node fetches it.
    model_names : sequence of str
        Models to measure; all of them by default.
    also_load : sequence of str
        Models that are loaded with each measured one, such as a model that an input names; their memory counts as its
        own. Models that a Python model's code names are found by themselves.
    batches, concurrencies : int or sequence of int
        Batch sizes to try, and numbers of requests to keep in flight.
    request_rates_per_s : float or sequence of float
        Requests to send per second, instead of a concurrency; latency counts from when each was due.
    arrivals : str
        ``poisson`` or ``constant``: gaps between requests that are sent at a rate.
    input_lengths, output_lengths : int or sequence of int
        Of a language model: lengths of the prompts to try, in words or token ids, and numbers of tokens to ask for.
        Every request has a prompt of its own.
    instances : int or sequence of int
        Instance counts to try; the model's own configuration by default.
    dynamic_batching : bool, str or sequence of these
        Settings of the dynamic batcher to try: ``off``, ``on``, or ``on:100us`` with the delay to fill a batch.
    max_batch_sizes : int or sequence of int
        Values of the model's max_batch_size to try.
    config : str or Path, optional
        YAML file with options under their command line names, also for single models; an argument that is not at its
        default wins.
    search : str
        ``grid``: every batch at every concurrency. ``climb``: raise the concurrency until throughput stops growing,
        narrow down the knee, then do the same with twice the instances.
    max_concurrency, max_instances : int
        Highest concurrency and highest number of instances of a climb.
    latency_p99_ms : float, optional
        Highest p99 latency that a climb or a peak may have.
    find_peak : bool
        Find the highest request rate within `latency_p99_ms`, to 5 %.
    precision_pct : float
        Half width of the 95 % confidence interval of throughput at which a trial ends; twice that for p99.
    max_trial_s, request_timeout_s, load_timeout_s : float
        Longest duration of a trial; time without a response after which a server counts as hanging; longest time to
        load a model.
    shapes : mapping of str to sequence of int, or sequence of str
        Dimensions of inputs whose length varies, as ``{"TOKENS": [128]}`` or ``["TOKENS:128"]``; a name may be
        ``MODEL:INPUT``.
    input_data : str or Path, optional
        Real inputs: a file in perf_analyzer's JSON, or a folder with one raw file for each input; random by default.
    sequence_length : int
        Requests in a sequence of random inputs, for models that keep state across requests.
    prompt_input, output_length_input : str, optional
        Input that holds the prompt, and input that takes the number of tokens to answer with; by default ``text_input``
        or ``input_ids``, and ``max_tokens``, ``request_output_len`` or vLLM's ``sampling_parameters``.
    input_tokens_output, output_tokens_output : str, optional
        Outputs that report the tokens of the request and of the response; by default ``num_input_tokens`` and
        ``num_output_tokens``. Without them responses are counted, and no tokens.
    protocol : str, optional
        ``http`` or ``grpc``; HTTP by default, gRPC for decoupled models.
    grpc_url : str, optional
        gRPC address of a server that is already running, as ``host:8001`` or ``grpcs://host``; by default port 8001 of
        the same host. Without a scheme it has TLS if `url` has.
    shared_memory : str
        ``none`` or ``system``: tensors lie in shared memory, so that their transfer is not measured.
    client_processes : int, optional
        Processes that send the load; by default one, and more if it limits the throughput, up to half of this host's
        processors.
    seed : int
        Seed of random inputs and arrivals.
    launch_mode : str
        ``docker``: in a container. ``local``: as a process of this host. ``remote``: on a server that is already
        running. ``auto``: whichever of these is available.
    triton_version, triton_image : str
        NVIDIA's release of the Triton container, or an image to use instead of NVIDIA's.
    gpus : sequence of str
        GPUs by index or UUID; the sweep is spread over them. By default the first, and all of its kind.
    http_port, grpc_port, metrics_port : int, optional
        Ports of a Triton that is started; free ones by default.
    url, metrics_url, dcgm_url : str, optional
        Address of a server that is already running, its metrics page, and the DCGM exporter's page on its host. The
        address is ``host:8000`` or ``https://host``; with ``grpc://host:8001`` or ``grpcs://host`` nothing is sent over
        HTTP, and the metrics page is read only if it is named.
        A page is found if it is not named, and missed if none answers: memory and utilization are then empty. The
        server is left as it was found; without `model_folder` its own models are measured.
    ssl_ca, ssl_certificate, ssl_key : str or Path, optional
        Certificates of that server's authority, and this client's own certificate with its key, in PEM. By default
        what this host trusts, and none.
    headers : mapping of str to str, or sequence of str
        Headers of every request to that server, as ``{"X-Tenant": "demo"}`` or ``["X-Tenant:demo"]``.
    token_file, token_env : str or Path, str, optional
        File, or environment variable, with a bearer token; it is read again for every trial, and stored nowhere.
    allow_reload : bool
        Unload models that were loaded on that server, measure them with memory and other configurations, and load
        them again as they were; by default they are measured as they are.
    reserve_cores : int, optional
        Processors that each server has for itself and its load, where several run on a host; by default they share
        all.
    ray : str, optional
        Measure on every GPU of a Ray cluster, each with its own Triton: ``auto`` for the cluster of this host,
        ``local`` for one of this process alone, else ``host:port`` of its head. A node that is lost costs one turn,
        which is done again elsewhere.
    per_node : int, optional
        Most servers on a node; by default one for each GPU, and one on a node without GPUs.
    per_device_type : str, optional
        ``all``: measure everything once on each type of device of the cluster. A name: use this type only.
    output : str or Path
        Folder of the store.
    store : str or Path, optional
        Another folder or file for the store, or a database's URL.
    fresh : bool
        Measure again what the store already has.
    export : bool
        Write the CSV files and the plots, to `export_path` or the output folder.
    export_path : str or Path, optional
    filename_model, filename_server_only : str
        Names of the CSV files of the models and of the idle server.
    per_model : mapping of str to mapping
        Other values of some options for single models, as ``{"chest_xray": {"batches": [1, 8]}}``.

    Returns
    -------
    SweepResult
        A sequence of `Measurement`, failed trials included; ``.to_frame()`` turns it into a DataFrame.

    Raises
    ------
    TritonpackError
        If the sweep fails: UsageError before anything is started; else the finished trials are in the store.
    KeyboardInterrupt
        On Ctrl-C, once everything that was started has ended.

    Examples
    --------
    Two trials of a sample model, on the Triton that is available:

    >>> from analyzer import measure
    >>> measured = measure(model_names=["image_classifier"], batches=[1, 2], concurrencies=4, max_trial_s=2)
    >>> [(each.trial.batch, each.status.measured) for each in measured]
    [(1, True), (2, True)]
    >>> table = measured.to_frame()
    >>> bool((table["throughput_infer_per_s"] > 0).all())
    True
    """
    arguments = dict(locals())  # the parameters, and nothing else yet
    config = arguments.pop("config")
    defaults = {name: declared.default for name, declared in options_of(SweepSettings).items()}
    given = {name: value for name, value in arguments.items() if name == "per_model" or value != defaults[name]}
    prepared = prepare(merge(given, Path(config) if config else None))
    recording, files = Recording(), Export(prepared.settings)
    prepared.export_early(recording, files)
    try:
        with sigint_as_interrupt():
            prepared.run(recording)
    except Interrupted:
        raise KeyboardInterrupt from None
    result = prepared.result(recording)
    if prepared.settings.export:
        files.finish(result.rows)
    return result
