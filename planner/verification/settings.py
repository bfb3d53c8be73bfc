"""The options of a verification, and those of a sweep that it has as well."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from analyzer.errors import UsageError
from analyzer.formats.option_values import FilePath, Flag, Names, Number, check_options, option, options_of

MEASURING = (  # options of a sweep that say where Triton runs, what is sent and how precisely it is measured
    *("model_folder", "also_load", "arrivals"),
    *("precision_pct", "max_trial_s", "request_timeout_s", "load_timeout_s"),
    *("shapes", "input_data", "sequence_length", "protocol", "grpc_url", "shared_memory", "client_processes", "seed"),
    *("prompt_input", "output_length_input", "input_tokens_output", "output_tokens_output"),
    *("launch_mode", "triton_version", "triton_image", "gpus", "http_port", "grpc_port", "metrics_port"),
    *("url", "allow_reload", "metrics_url", "dcgm_url", "store"),
    *("ssl_ca", "ssl_certificate", "ssl_key", "headers", "token_file", "token_env"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifySettings:
    """What of a plan is measured, and how it is judged; `planner.verify` says what each means.

    Raises
    ------
    UsageError
        For the first option whose value is not valid.
    """

    gpu_ids: tuple[str, ...] = option((), Names(), "gpu")
    most: int | None = option(None, Number(1, whole=True))
    pairs: int = option(0, Number(0, 100, whole=True))
    tolerance_pct: float = option(5.0, Number(0, 100, metavar="PCT"), "tolerance")
    repair: bool = option(False, Flag())
    rounds: int = option(5, Number(1, 1000, whole=True))
    output: Path | None = option(None, FilePath("FILE"))
    export_path: Path | None = option(None, FilePath("DIR"))

    def __post_init__(self) -> None:
        check_options(self)
        if self.output is not None and not self.repair:
            raise UsageError("`output` is for the plan that a repair ends on: add `repair=True`")
        if self.repair and (self.gpu_ids or self.most):
            raise UsageError("`repair=True` measures every content of the plan: drop `gpu_ids` and `most`")


FLAGS = {name: declared.flag for name, declared in options_of(VerifySettings).items()}
