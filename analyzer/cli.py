"""`analyze`: options → server, sweep, store; progress on stderr, tables on stdout."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from analyzer import __version__
from analyzer.errors import EXIT_FAILURE, TritonpackError, UsageError

if TYPE_CHECKING:
    from types import FrameType

    from analyzer.measurement import Measurement, ServerOnly
    from analyzer.repository import Model
    from analyzer.run import Job

MODEL_CSV = "metrics-model.csv"
SERVER_ONLY_CSV = "metrics-server-only.csv"
LAUNCH_MODES = ("auto", "docker", "local", "remote")
_EXIT_ON_SIGNAL = 128  # shells' convention: 128 + the signal's number


class Numbers(click.ParamType[Any]):
    """Positive numbers separated by commas, such as ``1,2,4``; each once, in the order given."""

    def __init__(self, kind: type[int] | type[float]) -> None:
        self._kind = kind
        self.name = "N,N,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        """Parse the option's text; see `click.ParamType.convert`."""
        if not isinstance(value, str):
            return tuple(value)
        numbers = []
        for part in value.split(","):
            try:
                number = self._kind(part)
            except ValueError:
                self.fail(f"{part.strip() or value!r} is not a number; give numbers separated by commas, as 1,2,4")
            if not 0 < number <= 1_000_000:
                self.fail(f"{part.strip()} is out of range; give numbers from 1 to 1,000,000")
            numbers.append(number)
        return tuple(dict.fromkeys(numbers))


class Names(click.ParamType[Any]):
    """Names separated by commas."""

    name = "NAME,NAME,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Parse the option's text; see `click.ParamType.convert`."""
        if not isinstance(value, str):
            return tuple(value)
        names = tuple(part.strip() for part in value.split(","))
        if not all(names):
            self.fail(f"{value!r} has an empty name")
        return names


class Shape(click.ParamType[Any]):
    """An input's dimensions, ``NAME:d1,d2`` or ``MODEL:NAME:d1,d2``."""

    name = "[MODEL:]NAME:D,D"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse the option's text; see `click.ParamType.convert`."""
        if not isinstance(value, str):
            return value
        name, _, dims = value.rpartition(":")
        lengths = dims.split(",")
        if not name or not all(length.strip().isdecimal() and int(length) > 0 for length in lengths):
            self.fail(f"{value!r} is no shape; give the input and its dimensions without the batch, as TOKENS:128")
        return name, tuple(int(length) for length in lengths)


@click.command(
    context_settings={"max_content_width": 100, "help_option_names": ["-h", "--help"]},
    epilog="Example: analyze --model-folder models --batch 1,2,4 --concurrency 1,2,4 --export -o results",
)
@click.version_option(__version__, prog_name="tritonpack")
@click.option("--batch", type=Numbers(int), default="1", show_default=True, help="Batch sizes to try.")
@click.option(
    "--concurrency", type=Numbers(int), default="1", show_default=True, help="Numbers of requests to keep in flight."
)
@click.option("--model-names", type=Names(), default=(), help="Models to measure.  [default: every model]")
@click.option(
    "--model-folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Model repository, never written to.  [default: the sample models]",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default="results",
    show_default=True,
    metavar="DIR",
    help="Folder of the store; measurements in it are not made again.",
)
@click.option("--store", metavar="URL", help="Store elsewhere, such as postgresql://user@host/database.")
@click.option("--fresh", is_flag=True, help="Measure also what the store has.")
@click.option("--export", is_flag=True, help="Write the CSV files and the plots.")
@click.option(
    "--export-path",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of the export.  [default: the output folder]",
)
@click.option("--filename-model", default=MODEL_CSV, show_default=True, metavar="NAME", help="CSV of the models.")
@click.option(
    "--filename-server-only", default=SERVER_ONLY_CSV, show_default=True, metavar="NAME", help="CSV of the idle server."
)
@click.option(
    "--launch-mode",
    type=click.Choice(LAUNCH_MODES),
    default="auto",
    show_default=True,
    help="Where Triton runs: a container, this host, a server that runs already, or what is there.",
)
@click.option(
    "--triton-version",
    default="24.10-py3",
    show_default=True,
    metavar="TAG",
    help="NVIDIA's release of the Triton container.",
)
@click.option("--triton-image", metavar="IMAGE", help="Another image than NVIDIA's.")
@click.option("--url", metavar="HOST:PORT", help="HTTP address of a server that runs already.")
@click.option("--metrics-url", metavar="URL", help="Its metrics page.  [default: port 8002 of the same host]")
@click.option("--gpus", type=Names(), default=(), help="GPUs by index or UUID.  [default: the first one]")
@click.option("--http-port", type=click.IntRange(1, 65535), help="Port of a Triton that is started.  [default: free]")
@click.option(
    "--shape",
    "shapes",
    type=Shape(),
    multiple=True,
    help="Dimensions of an input whose length varies; may be repeated.",
)
@click.option(
    "--input-data",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Real inputs in perf_analyzer's JSON.  [default: random]",
)
@click.option(
    "--precision",
    type=click.FloatRange(0, 100, min_open=True),
    default=5.0,
    show_default=True,
    metavar="PCT",
    help="Half width of the 95 % interval of throughput that ends a trial; p99 gets twice it.",
)
@click.option(
    "--max-trial-seconds", type=click.FloatRange(1), default=30.0, show_default=True, metavar="S", help="Longest trial."
)
@click.option(
    "--request-timeout",
    type=click.FloatRange(0.1),
    default=30.0,
    show_default=True,
    metavar="S",
    help="A server silent for so long hangs.",
)
@click.option(
    "--load-timeout",
    type=click.FloatRange(1),
    default=600.0,
    show_default=True,
    metavar="S",
    help="Longest load of a model.",
)
@click.option(
    "--client-processes", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes that send the load."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of random inputs and arrivals.")
def main(**options: Any) -> None:
    """Measure what models deliver and cost on Triton Inference Server.

    Every model is loaded alone on one server, and every batch size is tried at every concurrency while memory,
    utilization and power of the device are recorded. Results go to a store as they are made: an interrupted
    sweep goes on where it stopped, and a changed model is measured anew.

    Exit status: 0 when every trial has figures, 1 when one has not, 2 for a wrong command line.
    """
    with _signals_as_interrupts():
        failed = _analyze(options)
    if failed:
        raise SystemExit(EXIT_FAILURE)


class Interrupted(Exception):  # noqa: N818 - it is no error: somebody asked
    """A signal asked us to stop."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextlib.contextmanager
def _signals_as_interrupts() -> Iterator[None]:
    """Turn the first SIGINT or SIGTERM into an exception, so that every ``with`` cleans up; ignore further ones."""

    def interrupt(number: int, _frame: FrameType | None) -> None:
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_IGN)
        raise Interrupted(number)

    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, interrupt)
    yield


def _analyze(options: dict[str, Any]) -> bool:
    """Run the command; return whether a trial has no figures."""
    from analyzer.store import STORE_FILE, Store

    job = _job(options)
    place = options["store"] or options["output"] / STORE_FILE
    results: list[Measurement] = []
    with Store.open(place) as store:
        stopped: BaseException | None = None
        idle: ServerOnly | None = None
        try:
            idle = _measure(options, job, store, results)
        except (Interrupted, TritonpackError) as error:
            if not results:
                raise _ended(error) from None
            stopped = error
        _show(results, idle)
        if options["export"]:
            _export(options, store, results)
        if stopped is not None:
            click.echo(f"{len(results)} of {job.points} trials are in {store.name}; run again to go on", err=True)
            raise _ended(stopped) from None
    return _summarize(results)


def _ended(error: BaseException) -> BaseException:
    return SystemExit(_EXIT_ON_SIGNAL + error.number) if isinstance(error, Interrupted) else error


def _job(options: dict[str, Any]) -> Job:
    """Read the repository and the options into what is to be measured; everything is checked before a server starts."""
    from analyzer.measurement import Variant
    from analyzer.payload import read_input_data
    from analyzer.repository import read_repository, select
    from analyzer.run import Job
    from analyzer.sweep import Axes

    options["model_folder"] = options["model_folder"] or _sample_models()
    models = select(read_repository(options["model_folder"]), options["model_names"])
    axes = Axes(batches=options["batch"], concurrencies=options["concurrency"])
    for model in models:
        _say_left_out(model, axes.batches, axes.batches_for(model.max_batch_size))
    return Job(
        models=models,
        variants={model.name: (Variant(),) for model in models},
        axes={model.name: axes for model in models},
        shapes=dict(options["shapes"]),
        data=read_input_data(options["input_data"]) if options["input_data"] else None,
        seed=options["seed"],
    )


def _sample_models() -> Path:
    """Find the sample models, which are installed beside this package."""
    return Path(__file__).parent.parent / "sample_models"


def _say_left_out(model: Model, asked: Sequence[int], taken: Sequence[int]) -> None:
    left = [str(batch) for batch in asked if batch not in taken]
    if left and not taken:
        raise UsageError(
            f"{model.name} takes batches up to {model.max_batch_size or 1}; --batch {','.join(left)} leaves none to try"
        )
    if left:
        what = f"max_batch_size {model.max_batch_size}" if model.max_batch_size else "no batching"
        click.echo(f"{model.name} has {what}: left out batch {', '.join(left)}", err=True)


def _measure(options: dict[str, Any], job: Job, store: Any, results: list[Measurement]) -> ServerOnly:
    """Start the server and run the sweep; `results` grows as it goes."""
    from analyzer.devices.choose import choose_devices
    from analyzer.load import LoadGenerator
    from analyzer.measure import Patience
    from analyzer.progress import Progress
    from analyzer.rig import Rig
    from analyzer.run import Sweep
    from analyzer.servers.choose import Launch, LaunchMode, choose_server

    server, why = choose_server(
        Launch(
            mode=LaunchMode(options["launch_mode"]),
            triton_version=options["triton_version"],
            image=options["triton_image"],
            url=options["url"],
            metrics_url=options["metrics_url"],
            http_port=options["http_port"],
        )
    )
    devices = choose_devices(options["gpus"], remote=options["url"] is not None)
    click.echo(f"Triton: {server.describe()} ({why})", err=True)
    click.echo(f"Device: {devices.describe()}", err=True)
    rig = Rig(
        server,
        options["model_folder"],
        gpus=devices.uuids,
        open_sampler=devices.open_sampler,
        load_timeout_s=options["load_timeout"],
    )
    patience = Patience(
        throughput_ci=options["precision"] / 100,
        latency_p99_ci=options["precision"] / 50,
        max_trial_s=options["max_trial_seconds"],
        request_timeout_s=options["request_timeout"],
    )
    with rig, LoadGenerator(options["client_processes"]) as generator, Progress(job.points) as progress:

        def tell(measurement: Measurement, found: bool) -> None:
            results.append(measurement)
            progress.advance(measurement, found=found)

        sweep = Sweep(job, rig, store, generator, patience=patience, fresh=options["fresh"], tell=tell)
        return sweep.run()


def _show(results: list[Measurement], idle: ServerOnly | None) -> None:
    from analyzer.show import measurement_table, server_only_table

    if idle is not None:
        click.echo("Triton without models\n" + server_only_table([idle]) + "\n")
    click.echo(measurement_table(results))


def _export(options: dict[str, Any], store: Any, results: list[Measurement]) -> None:
    """Write the CSV files and the plots."""
    from analyzer.figures import write_measurement_figures
    from analyzer.table import write_measurements_csv, write_server_only_csv

    folder = options["export_path"] or options["output"]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_measurements_csv(folder / options["filename_model"], results)
        write_server_only_csv(folder / options["filename_server_only"], store.server_only())
        pictures = write_measurement_figures(results, folder)
    except OSError as error:
        raise TritonpackError(f"the export to {folder} failed: {error.strerror or error}") from None
    click.echo(
        f"Wrote {options['filename_model']}, {options['filename_server_only']} and {len(pictures)} plots to {folder}",
        err=True,
    )


def _summarize(results: list[Measurement]) -> bool:
    """Name the trials without figures and those that are unsure; return whether there is one of the former."""
    from analyzer.show import outcome

    failed = [m for m in results if not m.status.measured]
    for measurement in [m for m in results if m.cause]:
        trial = measurement.trial
        click.echo(
            f"{trial.model} ({trial.variant.name}) batch {trial.batch} concurrency {trial.concurrency}: "
            f"{outcome(measurement)}",
            err=True,
        )
    if failed:
        click.echo(f"{len(failed)} of {len(results)} trials have no figures", err=True)
    return bool(failed)
