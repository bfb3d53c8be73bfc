"""The options of an export."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

from analyzer.errors import UsageError
from analyzer.formats.option_values import Choice, FilePath, Flag, Kind, Number, Word, check_options, option, options_of
from analyzer.servers import DEFAULT_TRITON_VERSION
from analyzer.servers.docker import triton_image
from analyzer.servers.ports import LOOPBACK

TARGETS = (
    "triton",
    "compose",
    "kubernetes",
    "dra",
    "mig-parted",
    "device-plugin",
    "helm",
    "envoy",
    "prometheus",
)


class Inventories(Kind):
    """Files that say which real GPUs there are: ``FILE``, or ``NODE=FILE`` for the GPUs of one node."""

    metavar = "[NODE=]FILE"
    repeated = True

    def parse(self, text: str) -> tuple[str, ...]:
        """Read one file's name."""
        return self.check(text)

    def check(self, value: object) -> tuple[str, ...]:
        """Return the names; one alone need not be in a list."""
        given = (str(value),) if isinstance(value, str | Path) else tuple(map(str, value))  # type: ignore[call-overload]
        if not all(given):
            raise ValueError("an empty name")
        return given


class IpAddress(Kind):
    """An address to listen on, as ``0.0.0.0``."""

    metavar = "ADDRESS"

    def check(self, value: object) -> str:
        """Return the address."""
        try:
            return str(ipaddress.ip_address(str(value)))
        except ValueError:
            raise ValueError(f"{value!r} is no IP address such as {LOOPBACK}") from None


class DnsLabel(Kind):
    """A name of Kubernetes: a label of RFC 1123."""

    metavar = "NAME"

    def check(self, value: object) -> str:
        """Return the name."""
        text = str(value)
        if len(text) > 63 or not re.fullmatch("[a-z0-9]([a-z0-9-]*[a-z0-9])?", text):
            raise ValueError(f"{text!r} is no name of Kubernetes: at most 63 of a-z, 0-9 and -, the last not -")
        return text


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSettings:
    """What is exported and how; `planner.export_plan` says what each means.

    Raises
    ------
    UsageError
        For the first option whose value is not valid.
    """

    to: str = option(None, Choice(TARGETS))  # which there is no default for
    output: Path | None = option(None, FilePath("DIR"))
    model_folder: Path | None = option(None, FilePath("DIR"))
    copy_models: bool = option(False, Flag())
    model_source: str | None = option(None, Word("SOURCE"))
    image: str | None = option(None, Word("IMAGE"))
    triton_version: str = option(DEFAULT_TRITON_VERSION, Word("TAG"))
    namespace: str = option("default", DnsLabel())
    inventory: tuple[str, ...] = option((), Inventories())
    first_port: int = option(8000, Number(1, 65000, whole=True, metavar="PORT"))
    envoy_address: str = option(LOOPBACK, IpAddress())
    envoy_http_port: int = option(9000, Number(1, 65535, whole=True, metavar="PORT"))
    envoy_grpc_port: int = option(9001, Number(1, 65535, whole=True, metavar="PORT"))
    envoy_image: str = option("envoyproxy/envoy:v1.40.0", Word("IMAGE"))
    prometheus_port: int = option(9090, Number(1, 65535, whole=True, metavar="PORT"))
    prometheus_image: str = option("prom/prometheus:v2.55.1", Word("IMAGE"))
    sharing: str | None = option(None, Choice(("time-slicing", "mps")))
    strict: bool = option(False, Flag())

    def __post_init__(self) -> None:
        check_options(self)
        if not self.to:
            raise UsageError(f"say what the plan is exported to: `to` is one of {', '.join(TARGETS)}")
        if self.output is None:
            raise UsageError("say which folder the files are written to, with `output`")

    @property
    def triton_image(self) -> str:
        """The image of Triton: the one given, else NVIDIA's of the version."""
        return self.image or triton_image(self.triton_version)


FLAGS = {name: declared.flag for name, declared in options_of(ExportSettings).items()}
