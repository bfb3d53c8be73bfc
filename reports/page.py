"""Write the report as one HTML page of charts and tables that needs no other file and no network."""

from __future__ import annotations

import base64
import gzip
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

from analyzer.formats.units import number
from analyzer.measurements.record import UNKNOWN, Measurement, ServerOnly, Status
from analyzer.measurements.text import Subject, by_subject, device
from planner.placement.document import Placement
from planner.placement.file import sha256
from planner.placement.text import headline
from planner.verification.document import Verification
from planner.verification.text import headline as verdict_sentence
from planner.verification.text import remarks
from reports import page_tables as tables
from reports.charts import Chart
from reports.model_charts import model_charts
from reports.operating_points import planned
from reports.page_tables import Table
from reports.placement_charts import placement_charts
from reports.placement_figures import MOST_SINGLE, shown_gpus
from reports.plotly_script import plotly_script
from reports.verification_charts import verification_charts

MOST_AT_ONCE = 6  # models that are shown one below the other; of more, the reader chooses one
MOST_PICTURE_BYTES = 2 * 1024**2  # PNGs of one page, for readers without JavaScript; more are not embedded


@dataclass(frozen=True, slots=True)
class Script:
    """A script of the page."""

    code: str

    @property
    def source(self) -> str:
        """What allows this script, and no other, in a Content-Security-Policy (CSP 3, section 2.3.1)."""
        digest = hashlib.sha256(self.code.encode("utf-8")).digest()
        return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"

    @property
    def packed(self) -> str:
        """The script compressed by gzip, in base64: 1.9 MB instead of 4.8 MB of plotly.js."""
        return base64.b64encode(gzip.compress(self.code.encode("utf-8"), mtime=0)).decode("ascii")


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A PNG with its alternative text."""

    png: bytes
    alt: str

    @property
    def uri(self) -> str:
        """The PNG as a data URI."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode("ascii")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacementSection:
    """The page's section on one placement."""

    title: str
    facts: tuple[tuple[str, str], ...]
    joined: bool  # whether GPUs of the same geometry and content share a row
    charts: tuple[Chart, ...]
    pictures: tuple[Picture, ...]
    gpus: Table
    models: Table
    unplaced: Table


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationSection:
    """The page's section on one verification.

    Parameters
    ----------
    sentence, css_class : str
        Whether the plan holds, and the CSS class of that verdict.
    """

    title: str
    sentence: str
    css_class: str
    facts: tuple[tuple[str, str], ...]
    charts: tuple[Chart, ...]
    pictures: tuple[Picture, ...]
    models: Table
    contents: Table
    remarks: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSection:
    """The page's section on one configuration of a model on one device."""

    title: str
    device: str
    charts: tuple[Chart, ...]
    pictures: tuple[Picture, ...]
    trials: Table


def render(
    measurements: Sequence[Measurement],
    server_only: Sequence[ServerOnly],
    model_pictures: Mapping[Subject, bytes],
    placements: Sequence[tuple[str, Placement, Sequence[bytes]]],
    verifications: Sequence[tuple[str, Verification, Sequence[bytes]]] = (),
) -> str:
    """Write the page; the same records give the same page.

    Parameters
    ----------
    measurements, server_only : sequence
        All trials, failed ones included, and what the idle server takes.
    model_pictures : mapping of Subject to bytes
        A PNG for each subject of `measurements`, for readers without JavaScript; see `MOST_PICTURE_BYTES`.
    placements : sequence of (name, placement, pictures)
        The title, the placement and its PNGs.
    verifications : sequence of (name, verification, pictures)
        The title, the verification and its PNGs.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("reports"),
        autoescape=True,  # names come from model repositories: a model named <script> is shown as text
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    groups = by_subject(measurements)
    failed = [m for m in measurements if not m.status.measured]
    unsettled = [m for m in measurements if m.status is Status.UNSETTLED]
    plans = {sha256(placement): name for name, placement, _ in placements} if verifications else {}
    named = [(name, placement) for name, placement, _ in placements]
    pngs = [*model_pictures.values(), *(png for *_, pictures in (*placements, *verifications) for png in pictures)]
    embedded = sum(map(len, pngs)) <= MOST_PICTURE_BYTES
    own = resources.files("reports").joinpath("templates/page.js").read_text(encoding="utf-8")
    return environment.get_template("page.html.j2").render(
        facts=_facts(measurements, server_only),
        placements=[_placement(name, plan, pngs if embedded else ()) for name, plan, pngs in placements],
        verifications=[
            _verification(name, found, pngs if embedded else (), plans) for name, found, pngs in verifications
        ],
        overview=tables.overview(groups),
        failed=tables.failures(failed),
        unsettled=tables.failures(unsettled),
        models=[
            _model(about, group, [model_pictures[about]] if embedded else (), named) for about, group in groups.items()
        ],
        many=len(groups) > MOST_AT_ONCE,
        embedded=embedded,
        script=Script(own),
        plotly=Script(plotly_script()),
        server_only=tables.server_only(server_only),
    )


def _facts(measurements: Sequence[Measurement], server_only: Sequence[ServerOnly]) -> list[tuple[str, str]]:
    """Return where the figures come from, as pairs of name and value; equal values are given once."""
    sources = [m.provenance for m in measurements] + [s.provenance for s in server_only]
    found = {
        "Device": [device(p) for p in sources],
        "Device id": [p.device_uuid for p in sources],
        "Driver": [p.driver or "" for p in sources],
        "Triton": [p.server for p in sources],
        "tritonpack": [p.tool_version for p in sources],
        "Measured": [tables.statuses(measurements)],
    }
    joined = [
        (name, "; ".join(value for value in dict.fromkeys(values) if value not in ("", UNKNOWN)))
        for name, values in found.items()
    ]
    return [(name, value) for name, value in joined if value]


def _placement(name: str, placement: Placement, pictures: Sequence[bytes]) -> PlacementSection:
    shown = shown_gpus(placement)
    alt = f"Stacked bars: what each GPU of {name} holds against its capacity; the figures are in the table below."
    return PlacementSection(
        title=name,
        facts=tuple(_placement_facts(placement)),
        joined=len(placement.gpus) > MOST_SINGLE,
        charts=tuple(placement_charts(placement)),
        pictures=tuple(Picture(png=png, alt=alt) for png in pictures),
        gpus=tables.gpus(shown),
        models=tables.placed_models(shown),
        unplaced=tables.unplaced(placement.unplaced),
    )


def _placement_facts(placement: Placement) -> list[tuple[str, str]]:
    limits = placement.thresholds
    words = (
        ("memory", limits.memory),
        ("GPU utilization", limits.utilization),
        ("memory utilization", limits.memory_utilization),
    )
    thresholds = [f"{word} {number(share * 100)} %" for word, share in words if share is not None]
    return [
        ("Needs", headline(placement)),
        ("Mode", placement.mode.value),
        ("Thresholds", ", ".join(thresholds) or "none"),
        ("Notes", "; ".join(placement.provenance.notes) or "none"),
    ]


def _verification(
    name: str, found: Verification, pictures: Sequence[bytes], plans: Mapping[str, str]
) -> VerificationSection:
    """Make the section on a verification; `plans` has the names of the page's placements by their SHA-256."""
    alt = f"What {name} measured of each model and GPU against what was predicted; the figures are in the tables below."
    sentence = verdict_sentence(found)
    return VerificationSection(
        title=name,
        sentence=f"{sentence[0].upper()}{sentence[1:]}.",
        css_class=tables.VERDICT_CLASSES[found.verdict],
        facts=tuple(_verification_facts(found, plans)),
        charts=tuple(verification_charts(found)),
        pictures=tuple(Picture(png=png, alt=alt) for png in pictures),
        models=tables.verified_models(found),
        contents=tables.verified_contents(found),
        remarks=tuple(remarks(found)),
    )


def _verification_facts(found: Verification, plans: Mapping[str, str]) -> list[tuple[str, str]]:
    source = found.provenance
    facts = [
        ("Plan", plans.get(source.placement_sha256, f"SHA-256 {source.placement_sha256}, not on this page")),
        ("Measured on", "; ".join(source.devices)),
        ("Triton", "" if source.server == UNKNOWN else source.server),
        ("Precision", f"{source.precision_pct:g} %, at most {source.max_trial_s:g} s a trial"),
    ]
    return [(name, value) for name, value in facts if value]


def _model(
    about: Subject, group: Sequence[Measurement], pictures: Sequence[bytes], placements: Sequence[tuple[str, Placement]]
) -> ModelSection:
    alt = f"Throughput, p99 latency, memory and utilization of {about.title}; the figures are in the table below."
    return ModelSection(
        title=about.title,
        device=device(about.provenance),
        charts=tuple(model_charts(about, group, planned(about, placements))),
        pictures=tuple(Picture(png=png, alt=alt) for png in pictures),
        trials=tables.measurements(about, group),
    )
