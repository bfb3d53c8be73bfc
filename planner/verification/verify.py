"""Verify a placement: measure its contents on real servers, and compare with what was planned and predicted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analyzer import __version__
from analyzer.devices.choose import MeasuredDevice
from analyzer.devices.process import host
from analyzer.errors import UsageError
from analyzer.measurements.record import UNKNOWN
from analyzer.measurements.source import Measurements, read_measurements
from analyzer.measurements.store import Store
from analyzer.servers.docker import FollowPull
from analyzer.sweep.prepare import PreparedSweep, prepare
from analyzer.sweep.settings import SweepSettings
from analyzer.sweep.signals import Interrupted, sigint_as_interrupt
from planner.interference.observed import fits_of
from planner.placement.document import Placement
from planner.placement.file import read_placement, sha256
from planner.verification.compare import Expectations, compare
from planner.verification.contents import MeasuredContent, PlannedContent, choose, contents_of, loads_of
from planner.verification.document import NotTried, Verdict, Verification, VerificationProvenance, worst
from planner.verification.file import SCHEMA_VERSION
from planner.verification.run import measure_contents, with_pairs
from planner.verification.settings import MEASURING, VerifySettings

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedVerification:
    """A verification whose settings are checked, and of which nothing is started yet.

    Parameters
    ----------
    contents : tuple of PlannedContent
        What is measured.
    not_tried : tuple of NotTried
        What is left out, and why.
    sweep : PreparedSweep
        The server, the devices and the models.
    """

    placement: Placement
    known: Measurements
    settings: VerifySettings
    contents: tuple[PlannedContent, ...]
    not_tried: tuple[NotTried, ...]
    sweep: PreparedSweep

    def run(self, say: Say, *, flags: Mapping[str, str] | None = None) -> Verification:
        """Measure the contents, spread over the devices; nothing is left running, however it ends.

        Parameters
        ----------
        say : callable
            Receives what is measured now, in one line each.
        flags : mapping of str to str, optional
            The command line's flag of each option, for causes.

        Raises
        ------
        TritonpackError
            If the server cannot be started, or the store takes nothing more.
        """
        expected = Expectations(
            placement=self.placement,
            fits=fits_of(self.known.co_locations),
            profiled=self.known.rows,
            tolerance=self.settings.tolerance_pct / 100,
        )
        measured = _Measured(say)
        with Store.open(self.sweep.settings.store_place) as store:
            together = with_pairs(
                self.contents,
                self.sweep.settings.arrivals,
                self.settings.pairs,
                store,
                tolerance=expected.tolerance,
            )
            if self.contents:
                measure_contents(self.sweep.workers(flags or {}), self.sweep.job, together, measured, store)
        found = [measured.found[number] for number in sorted(measured.found)]
        verified = [compare(one, expected) for one in found]
        servers = [one.models.models[0].measurement.provenance.server for one in found]
        measuring = self.sweep.settings
        fits = [expected.fit_for(content.device) for content in verified if len(content.models) > 1]
        return Verification(
            schema_version=SCHEMA_VERSION,
            mode=self.placement.mode,
            verdict=worst(content.verdict for content in verified) if verified else Verdict.NOT_MEASURED,
            contents=tuple(verified),
            not_tried=self.not_tried,
            provenance=VerificationProvenance(
                tool="tritonpack",
                tool_version=__version__,
                placement_sha256=sha256(self.placement),
                devices=tuple(sorted({content.device for content in verified})),
                server=servers[-1] if servers else "",
                precision_pct=measuring.precision_pct,
                max_trial_s=measuring.max_trial_s,
                seed=measuring.seed,
                calibrated=all(fit.calibrated for fit in fits),
            ),
        )


class _Measured:
    """Keeps what was measured of each content by its number, and passes lines on."""

    def __init__(self, say: Say) -> None:
        self.said = say
        self.found: dict[int, MeasuredContent] = {}

    def measured(self, number: int, found: MeasuredContent) -> None:
        self.found[number] = found


def prepare_verification(
    placement: Placement,
    profiles: str | Path,
    settings: VerifySettings,
    measuring: Mapping[str, Any],
    *,
    follow_pull: FollowPull | None = None,
) -> PreparedVerification:
    """Choose what is measured, and on what; nothing is started yet.

    Parameters
    ----------
    profiles : str or Path
        Where the measurements are that the plan was made from.
    measuring : mapping of str to object
        Options of a sweep, of those in `MEASURING`.
    follow_pull : callable, optional
        Shows the progress of an image pull; see `DockerServer`.

    Raises
    ------
    UsageError
        If settings contradict each other, the placement, the repository or this host.
    """
    for name in measuring:
        if name not in MEASURING:
            raise UsageError(f"`{name}` is no option of a verification")
    known = read_measurements(profiles)
    contents = contents_of(placement)
    chosen = choose(contents, gpus=settings.gpu_ids, most=settings.most)
    if not chosen:
        raise UsageError("the placement has no GPU with a model: there is nothing to verify")
    left_out = [content for content in contents if content not in chosen]
    reason = "left out by " + " and ".join(
        name for name, given in (("`gpu_ids`", settings.gpu_ids), ("`most`", settings.most is not None)) if given
    )
    names = tuple(sorted({model.name for content in chosen for model in content.models}))
    place = {} if "store" in measuring else _store_of(profiles)
    given = frozenset(measuring) - {"arrivals"}  # the rates that these belong to are the plan's
    sweep = prepare(SweepSettings(**{**place, **measuring}, model_names=names, given=given), follow_pull=follow_pull)
    fitting, other = _on_device(chosen, placement, sweep.devices[0])
    return PreparedVerification(
        placement=placement,
        known=known,
        settings=settings,
        contents=fitting,
        not_tried=(*(NotTried(gpus=content.gpus, reason=reason) for content in left_out), *other),
        sweep=sweep,
    )


def _store_of(profiles: str | Path) -> dict[str, Any]:
    """Return the option that says where results are kept: with the profiles, or in the folder of their CSV file."""
    path = Path(profiles)
    if path.suffix.lower() == ".csv":
        return {"output": path.parent}
    return {"store": str(profiles)} if "://" in str(profiles) or not path.is_dir() else {"output": path}


def _on_device(
    contents: Sequence[PlannedContent], placement: Placement, device: MeasuredDevice
) -> tuple[tuple[PlannedContent, ...], tuple[NotTried, ...]]:
    """Split contents into those that the device can show, and the others with the reason."""
    name = None if device.remote else device.gpu.name if device.gpu else host().name
    found = [(content, mismatch(content, placement, name)) for content in contents]
    return (
        tuple(content for content, why in found if not why),
        tuple(NotTried(gpus=content.gpus, reason=why) for content, why in found if why),
    )


def mismatch(content: PlannedContent, placement: Placement, device: str | None) -> str:
    """Say why a device cannot show a content; "" where it can, or where it is not known before."""
    try:
        loads_of(content)
    except UsageError as error:
        return error.message
    if device is None:
        return ""
    if content.slice_profile is not None and content.slice_profile not in device:
        return f"it is planned on a slice {content.slice_profile}, and this host has {device}"
    if content.slice_profile is None and " MIG " in device:
        return f"it is planned on a whole {content.type}, and this host has {device}"
    kind = next((kind for kind in placement.gpu_types if kind.type == content.type), None)
    known = set() if kind is None else {*kind.devices, *([kind.scaling.device] if kind.scaling else [])}
    if known and UNKNOWN not in known and not any(device.startswith(name) for name in known):
        return f"it is planned on {content.type} ({', '.join(sorted(known))}), and this host has {device}"
    return ""


def verify(
    placement: str | Path | Placement,
    profiles: str | Path,
    *,
    gpu_ids: Sequence[str] = (),
    most: int | None = None,
    pairs: int = 0,
    tolerance_pct: float = 5.0,
    **measuring: Any,
) -> Verification:
    """Run what a plan packs together and measure whether it holds; the Python form of the command `plan verify`.

    Every distinct content of the plan's GPUs is loaded on one Triton, and all of its models are sent their planned
    load at the same time. Results go to the store of the profiles as well. Nothing is printed or left running.

    Parameters
    ----------
    placement : str, Path or Placement
        The plan, or its file.
    profiles : str or Path
        Where the measurements are that it was made from.
    gpu_ids : sequence of str
        GPUs of the plan whose content is measured; all of them by default.
    most : int, optional
        Measure only so many contents, those that are nearest to a limit.
    pairs : int
        Besides, measure so many pairs of each model, from which the next predictions learn.
    tolerance_pct : float
        Share of a planned rate that may be missing, in percent.
    measuring
        Where Triton runs, what is sent and how precisely it is measured: options of `analyzer.measure`.

    Raises
    ------
    TritonpackError
        If settings are not valid or nothing can be measured.
    KeyboardInterrupt
        On Ctrl-C, after everything has been stopped.

    Examples
    --------
    Two sample models on one device, on the Triton that is available:

    >>> from analyzer import measure
    >>> from planner import plan, verify
    >>> measured = measure(model_names=["image_classifier", "segmenter"], max_trial_s=2, output="both")
    >>> found = verify(plan("both", mode="memory").placement, "both", max_trial_s=2)
    >>> [content.verdict.value for content in found.contents]
    ['holds']
    """
    settings = VerifySettings(gpu_ids=tuple(gpu_ids), most=most, pairs=pairs, tolerance_pct=tolerance_pct)
    plan = read_placement(placement) if isinstance(placement, str | Path) else placement
    prepared = prepare_verification(plan, profiles, settings, measuring)
    try:
        with sigint_as_interrupt():
            return prepared.run(lambda text: None)
    except Interrupted:
        raise KeyboardInterrupt from None
