"""Export a placement: read what it refers to, hand it to the target's exporter, and write the files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from analyzer.errors import UsageError
from analyzer.formats.option_values import in_flags
from analyzer.models.repository import read_repository
from analyzer.servers import DEFAULT_TRITON_VERSION
from planner.export.files import Export, ExportFile, write_export
from planner.export.inventory import read_inventory
from planner.export.place_servers import serving_plan
from planner.export.settings import FLAGS, ExportSettings
from planner.placement.document import Placement
from planner.placement.file import read_placement


def export_plan(
    placement: Placement | str | Path,
    *,
    to: str,
    output: str | Path,
    model_folder: str | Path | None = None,
    copy_models: bool = False,
    model_source: str | None = None,
    image: str | None = None,
    triton_version: str = DEFAULT_TRITON_VERSION,
    namespace: str = "default",
    inventory: str | Path | Sequence[str | Path] = (),
    first_port: int = 8000,
    envoy_address: str = "127.0.0.1",
    envoy_http_port: int = 9000,
    envoy_grpc_port: int = 9001,
    envoy_image: str = "envoyproxy/envoy:v1.40.0",
    prometheus_port: int = 9090,
    prometheus_image: str = "prom/prometheus:v2.55.1",
    sharing: str | None = None,
    strict: bool = False,
) -> Export:
    """Write a placement in the format of a system that deploys it; the Python form of the command `plan export`.

    Parameters
    ----------
    placement : Placement, str or Path
        A placement, or its file.
    to : str
        The target: ``triton``, ``compose``, ``kubernetes``, ``dra``, ``mig-parted``, ``device-plugin``, ``helm``,
        ``envoy`` or ``prometheus``.
    output : str or Path
        Folder that the files are written to; files of an earlier export to it are replaced.
    model_folder : str or Path, optional
        The model repository that the plan was measured with; it is read only.
    copy_models : bool
        Whether the models' files are copied; they are linked otherwise.
    model_source : str, optional
        Where servers find the models: ``hostPath:/DIR``, ``pvc:NAME``, or an ``s3://`` or ``gs://`` URI.
    image : str, optional
        Image of Triton; NVIDIA's of `triton_version` by default.
    triton_version : str
        Release of Triton, as ``24.10-py3``.
    namespace : str
        Kubernetes namespace.
    inventory : str, Path or sequence of these
        Files that say which GPUs there are, each ``FILE`` or ``NODE=FILE``: TOML, or saved output of ``nvidia-smi`` or
        ``kubectl get nodes -o json``.
    first_port : int
        HTTP port of a host's first Triton; gRPC and metrics are the next two, the next Triton is 10 above.
    envoy_address : str
        Address on which Envoy takes requests.
    envoy_http_port, envoy_grpc_port : int
        Ports on which Envoy takes HTTP and gRPC.
    envoy_image, prometheus_image : str
        Images of Envoy and Prometheus, for ``compose``.
    prometheus_port : int
        Loopback port of Prometheus.
    sharing : str, optional
        How pods share a GPU, for ``device-plugin`` and ``dra``: ``time-slicing`` or ``mps``.
    strict : bool
        Whether a part of the plan that the target cannot express is an error.

    Returns
    -------
    Export
        The files, what of the plan they do not express, and the command lines that use them.

    Raises
    ------
    UsageError
        If an option, the inventory or the model repository does not fit the plan; with `strict` also if the target
        cannot express a part of the plan.
    TritonpackError
        If the folder cannot be written to.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from planner import export_plan, plan
    >>> result = plan("tests/data/case-study.csv", mode="memory", gpu_memory_mib=16384)
    >>> with TemporaryDirectory() as folder:
    ...     export = export_plan(result.placement, to="envoy", output=folder)
    >>> [file.path for file in export.files], export.usage
    (['envoy.yaml'], ('envoy -c envoy.yaml',))
    """
    plan = placement if isinstance(placement, Placement) else read_placement(placement)
    settings = ExportSettings(
        to=to,
        output=Path(output),
        model_folder=None if model_folder is None else Path(model_folder),
        copy_models=copy_models,
        model_source=model_source,
        image=image,
        triton_version=triton_version,
        namespace=namespace,
        inventory=inventory,  # type: ignore[arg-type]  # made a tuple of names when it is checked
        first_port=first_port,
        envoy_address=envoy_address,
        envoy_http_port=envoy_http_port,
        envoy_grpc_port=envoy_grpc_port,
        envoy_image=envoy_image,
        prometheus_port=prometheus_port,
        prometheus_image=prometheus_image,
        sharing=sharing,
        strict=strict,
    )
    return export_with(plan, settings)


def export_with(placement: Placement, settings: ExportSettings) -> Export:
    """Write a placement as checked settings say; see `export_plan`."""
    folder = settings.model_folder
    plan = serving_plan(
        placement,
        repository={model.name: model for model in read_repository(folder)} if folder else None,
        inventory=read_inventory(settings.inventory),
        first_port=settings.first_port,
    )
    module = import_module(f"planner.export.{settings.to.replace('-', '_')}")
    export: Export = module.export(plan, settings)
    if settings.strict and export.not_expressed:
        raise UsageError(f"{settings.to} cannot express all of the plan: {'; '.join(export.not_expressed)}")
    if export.not_expressed:
        facts = "".join(f"- {in_flags(fact, FLAGS)}\n" for fact in export.not_expressed)
        text = f"{plan.header(settings.to)}# What of the plan is not expressed:\n{facts}"
        notes = ExportFile(path=f"not-expressed-{settings.to}.txt", text=text)
        export = replace(export, files=(*export.files, notes))
    assert settings.output is not None, "the settings ask for it"
    write_export(export, settings.output, target=settings.to, copy=settings.copy_models)
    return export
