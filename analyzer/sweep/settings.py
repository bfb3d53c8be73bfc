"""The options of a sweep, with their kinds of values and defaults, for `measure` and the command line `analyze`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from analyzer.errors import UsageError
from analyzer.formats.option_values import (
    Address,
    Choice,
    FileName,
    FilePath,
    Flag,
    Kind,
    Names,
    Number,
    Numbers,
    Text,
    Word,
    check_options,
    option,
    options_of,
)
from analyzer.formats.suggestions import suggest
from analyzer.load import SEQUENCE_LENGTH
from analyzer.measurements import MODEL_CSV, SERVER_ONLY_CSV, STORE_FILE
from analyzer.search import SearchMethod
from analyzer.servers import DEFAULT_TRITON_VERSION, LaunchMode
from analyzer.servers.access import Access, Header
from analyzer.servers.tls import Tls

PER_MODEL = (  # options that may differ from model to model
    "also_load",
    *("batches", "concurrencies", "request_rates_per_s", "arrivals", "instances", "dynamic_batching"),
    *("input_lengths", "output_lengths"),
    *("prompt_input", "output_length_input", "input_tokens_output", "output_tokens_output"),
    *("max_batch_sizes", "search", "max_concurrency", "max_instances", "latency_p99_ms", "find_peak"),
)


class BatchingSettings(Kind):
    """Settings of the dynamic batcher, ``off``, ``on`` or ``on:100us`` → pairs of (on, delay in seconds)."""

    metavar = "off|on|on:US,…"
    repeated = True
    _DELAY = re.compile(r"on:(\d+(?:\.\d+)?)(us|ms)")

    def parse(self, text: str) -> tuple[tuple[bool, float], ...]:
        """Read settings separated by commas."""
        return tuple(dict.fromkeys(self._one(part.strip()) for part in text.split(",")))

    def check(self, value: Any) -> tuple[tuple[bool, float], ...]:
        """Return the settings."""
        given = [value] if isinstance(value, str | bool) else list(value)
        return tuple(dict.fromkeys(one if isinstance(one, tuple) else self._one(one) for one in given))

    def _one(self, setting: str | bool) -> tuple[bool, float]:
        text = {True: "on", False: "off"}.get(setting, setting) if isinstance(setting, bool) else setting
        if text in ("off", "on"):
            return text == "on", 0.0
        match = self._DELAY.fullmatch(str(text))
        delay_s = float(match[1]) * {"us": 1e-6, "ms": 1e-3}[match[2]] if match else 0.0
        if match is None or not 1e-6 <= delay_s <= 10:
            raise ValueError(
                f"{text!r} is no setting; give off, on, or on with a delay from 1us to 10000ms, as on:100us"
            )
        return True, delay_s


class Shapes(Kind):
    """Dimensions of inputs, ``NAME:d1,d2`` or ``MODEL:NAME:d1,d2`` → pairs of a name and its dimensions."""

    metavar = "[MODEL:]NAME:D,D"
    repeated = True

    def parse(self, text: str) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """Read the shape of one input."""
        name, _, dims = text.rpartition(":")
        lengths = dims.split(",")
        if not name or not all(length.strip().isdecimal() and 0 < int(length) <= 2**31 for length in lengths):
            raise ValueError(
                f"{text!r} is no shape; give the input and its dimensions without the batch, as TOKENS:128"
            )
        return ((name, tuple(int(length) for length in lengths)),)

    def check(self, value: Any) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """Return the shapes of a mapping, or of a sequence of texts or of pairs."""
        given = value.items() if isinstance(value, Mapping) else [value] if isinstance(value, str) else value
        texts = (one if isinstance(one, str) else f"{one[0]}:{','.join(map(str, one[1]))}" for one in given)
        return tuple(dict(pair for text in texts for pair in self.parse(text)).items())


class Processes(Kind):
    """A number of processes; ``auto`` is None."""

    metavar = "auto|N"

    def parse(self, text: str) -> int | None:
        """Read the number."""
        return self.check(int(text) if text.isdecimal() else text)

    def check(self, value: Any) -> int | None:
        """Return the number."""
        if value in (None, "auto"):
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 64:
            raise ValueError(f"{str(value)!r} is neither auto nor a number from 1 to 64")
        return value


class RayAddress(Kind):
    """Where a Ray cluster is found: ``auto``, ``local``, or the address of its head."""

    metavar = "auto|local|HOST:PORT"

    def check(self, value: Any) -> str:
        """Return the address."""
        if str(value).startswith("ray://"):
            raise ValueError(
                f"{value!r} is an address of Ray Client; run this on a node of the cluster, and give auto or the "
                "address of the head's GCS, as head:6379"
            )
        return str(value) if value in ("auto", "local") else Address().check(value)


class Headers(Kind):
    """Headers of requests, ``NAME:VALUE`` → `Header`; messages never show a value."""

    metavar = "NAME:VALUE"
    repeated = True
    _NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
    _OURS = frozenset(("connection", "content-length", "content-type", "host", "te", "transfer-encoding", "upgrade"))
    _LONGEST = 8192

    def parse(self, text: str) -> tuple[Header, ...]:
        """Read one header."""
        name, colon, value = text.partition(":")
        name, value = name.strip(), value.strip()
        if not colon or not self._NAME.fullmatch(name):
            raise ValueError("this is no header; write it as NAME:VALUE")
        if name.lower() in self._OURS or name.lower().startswith(("grpc-", "inference-header-")):
            raise ValueError(f"{name} is set by the protocol; leave it out")
        if not value or not value.isascii() or not value.isprintable() or len(value) > self._LONGEST:
            raise ValueError(f"{name} has no value in one line of ASCII, of at most {self._LONGEST} characters")
        return (Header(name=name, value=value),)

    def check(self, value: Any) -> tuple[Header, ...]:
        """Return the headers of a mapping, or of texts; of several with one name the last counts."""
        given = value.items() if isinstance(value, Mapping) else [value] if isinstance(value, str) else value
        found = [one if isinstance(one, Header) else self._one(one) for one in given]
        return tuple({header.name.lower(): header for header in found}.values())

    def _one(self, given: Any) -> Header:
        return self.parse(given if isinstance(given, str) else ":".join(map(str, given)))[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepSettings:
    """Every option of a sweep; `analyzer.measure` says what each means.

    Parameters
    ----------
    per_model : mapping of str to mapping
        Options of `PER_MODEL` for single models, which win over the others.
    given : frozenset of str or None
        Options that were given; by default those that differ from their defaults.
    where : mapping of str to str
        Place of each single model's options in a sweep file (path and line), for messages.

    Raises
    ------
    UsageError
        For the first option whose value is not valid.
    """

    model_folder: Path | None = option(None, FilePath("DIR"))
    model_uri: str | None = option(None, Word("URI"))
    model_names: tuple[str, ...] = option((), Names())
    also_load: tuple[str, ...] = option((), Names())
    batches: tuple[int, ...] = option((1,), Numbers(int), "batch")
    concurrencies: tuple[int, ...] = option((1,), Numbers(int), "concurrency")
    request_rates_per_s: tuple[float, ...] = option((), Numbers(float), "request-rate")
    arrivals: str = option("poisson", Choice(("poisson", "constant")))
    input_lengths: tuple[int, ...] = option((), Numbers(int), "input-length")
    output_lengths: tuple[int, ...] = option((), Numbers(int), "output-length")
    instances: tuple[int, ...] = option((), Numbers(int))
    dynamic_batching: tuple[tuple[bool, float], ...] = option((), BatchingSettings())
    max_batch_sizes: tuple[int, ...] = option((), Numbers(int), "max-batch-size")
    search: str = option("grid", Choice([method.value for method in SearchMethod]))
    max_concurrency: int = option(1024, Number(1, 65536, whole=True))
    max_instances: int = option(8, Number(1, 1024, whole=True))
    latency_p99_ms: float | None = option(None, Number(0, 1e6, open_low=True, metavar="MS"))
    find_peak: bool = option(False, Flag())
    precision_pct: float = option(5.0, Number(0, 100, open_low=True, metavar="PCT"), "precision")
    max_trial_s: float = option(15.0, Number(1, 86400, metavar="S"), "max-trial-seconds")
    request_timeout_s: float = option(30.0, Number(0.1, 86400, metavar="S"), "request-timeout")
    load_timeout_s: float = option(600.0, Number(1, 86400, metavar="S"), "load-timeout")
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = option((), Shapes(), "shape")
    input_data: Path | None = option(None, FilePath("FILE|DIR"))
    sequence_length: int = option(SEQUENCE_LENGTH, Number(1, 100_000, whole=True))
    prompt_input: str | None = option(None, Word("NAME"))
    output_length_input: str | None = option(None, Word("NAME"))
    input_tokens_output: str | None = option(None, Word("NAME"))
    output_tokens_output: str | None = option(None, Word("NAME"))
    protocol: str | None = option(None, Choice(("http", "grpc")))
    grpc_url: str | None = option(None, Word("URL"))
    shared_memory: str = option("none", Choice(("none", "system")))
    client_processes: int | None = option(None, Processes())
    seed: int = option(0, Number(0, 2**31, whole=True))
    launch_mode: str = option("auto", Choice([mode.value for mode in LaunchMode]))
    triton_version: str = option(DEFAULT_TRITON_VERSION, Word("TAG"))
    triton_image: str | None = option(None, Word("IMAGE"))
    gpus: tuple[str, ...] = option((), Names())
    http_port: int | None = option(None, Number(1, 65535, whole=True, metavar="PORT"))
    grpc_port: int | None = option(None, Number(1, 65535, whole=True, metavar="PORT"))
    metrics_port: int | None = option(None, Number(1, 65535, whole=True, metavar="PORT"))
    url: str | None = option(None, Word("URL"))
    ssl_ca: Path | None = option(None, FilePath("FILE"))
    ssl_certificate: Path | None = option(None, FilePath("FILE"))
    ssl_key: Path | None = option(None, FilePath("FILE"))
    headers: tuple[Header, ...] = option((), Headers(), "header")
    token_file: Path | None = option(None, FilePath("FILE"))
    token_env: str | None = option(None, Word("NAME"))
    allow_reload: bool = option(False, Flag())
    metrics_url: str | None = option(None, Word("URL"))
    dcgm_url: str | None = option(None, Word("URL"))
    reserve_cores: int | None = option(None, Number(1, 1024, whole=True))
    ray: str | None = option(None, RayAddress())
    per_node: int | None = option(None, Number(1, 1024, whole=True))
    per_device_type: str | None = option(None, Text("all|NAME"))
    output: Path = option(Path("results"), FilePath("DIR"))
    store: str | None = option(None, Text("URL"))
    fresh: bool = option(False, Flag())
    export: bool = option(False, Flag())
    export_path: Path | None = option(None, FilePath("DIR"))
    filename_model: str = option(MODEL_CSV, FileName())
    filename_server_only: str = option(SERVER_ONLY_CSV, FileName())
    per_model: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    given: frozenset[str] | None = None
    where: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for model, own in self.per_model.items():
            for name in own:
                if name not in PER_MODEL:
                    raise UsageError(f"`per_model`: unknown option '{name}' of {model}; {suggest(name, PER_MODEL)}")
        if self.given is None:
            declared = options_of(type(self))
            differing = frozenset(name for name, one in declared.items() if getattr(self, name) != one.default)
            object.__setattr__(self, "given", differing)
        check_options(self)
        if self.token_file and self.token_env:
            raise UsageError("give either `token_file` or `token_env`, not both")
        if (self.token_file or self.token_env) and any(one.name.lower() == "authorization" for one in self.headers):
            raise UsageError("give either a token or the header Authorization with `headers`, not both")
        if self.ssl_key and not self.ssl_certificate:
            raise UsageError("`ssl_key` is the key of a certificate: give that with `ssl_certificate`")

    def of(self, model: str) -> Self:
        """Return the settings for one model, with its own options applied."""
        own = self.per_model.get(model, {})
        return replace(self, per_model={}, given=(self.given or frozenset()) | own.keys(), **own)

    def is_given(self, name: str) -> bool:
        """Whether an option was given rather than left at its default."""
        return name in (self.given or ())

    @property
    def access(self) -> Access:
        """What this client shows to a server that is already running."""
        return Access(
            tls=Tls(ca=self.ssl_ca, certificate=self.ssl_certificate, key=self.ssl_key),
            headers=self.headers,
            token_file=self.token_file,
            token_env=self.token_env,
        )

    @property
    def store_place(self) -> str | Path:
        """Where measurements are kept: a file, or a database's URL."""
        place = self.store or self.output
        if "://" in str(place) or Path(place).suffix in (".sqlite", ".db") or Path(place).is_file():
            return str(place)
        return Path(place) / STORE_FILE

    @property
    def export_folder(self) -> Path:
        """Where CSV files and figures are written."""
        return self.export_path or self.output


FLAGS = {name: declared.flag for name, declared in options_of(SweepSettings).items()}
