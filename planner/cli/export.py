"""`plan export`: write a placement in the format of a system that deploys it."""

from __future__ import annotations

from typing import Any

import click

from analyzer.cli.command import Command
from analyzer.cli.option_types import option_of, typed
from analyzer.formats.option_values import in_flags
from analyzer.formats.units import printable
from planner.export.export import export_with
from planner.export.settings import FLAGS, ExportSettings
from planner.placement.file import read_placement

_option = option_of(ExportSettings)


@click.command(name="export", cls=Command)
@click.argument("placement", metavar="PLACEMENT")
@_option("to", "What deploys the plan.")
@_option("output", "Folder of the files; those of an earlier export to it are replaced.", "-o")
@_option("model_folder", "Model repository that the plan was measured with; it is read only.")
@_option("copy_models", "Copy the models' files instead of linking to them.")
@_option("model_source", "Where servers find the models: hostPath:/DIR, pvc:NAME, or an s3:// or gs:// URI.")
@_option("image", "Image of Triton.  [default: NVIDIA's of --triton-version]")
@_option("triton_version", "Release of Triton.")
@_option("namespace", "Kubernetes namespace.")
@_option(
    "inventory",
    "Which GPUs there are: TOML, or saved output of nvidia-smi --query-gpu=index,uuid,name --format=csv or of "
    "kubectl get nodes -o json; several times.",
)
@_option("first_port", "HTTP port of a host's first Triton; gRPC and metrics are the next two, the next Triton 10 up.")
@_option("envoy_address", "Address on which Envoy takes requests.")
@_option("envoy_http_port", "Port on which Envoy takes HTTP.")
@_option("envoy_grpc_port", "Port on which Envoy takes gRPC.")
@_option("envoy_image", "Image of Envoy, for compose.")
@_option("prometheus_port", "Loopback port of Prometheus.")
@_option("prometheus_image", "Image of Prometheus, for compose.")
@_option("sharing", "How pods share a GPU: for device-plugin (time-slicing if not given) and dra.")
@_option("strict", "Fail if the target cannot express all of the plan.")
@click.pass_context
def command(ctx: click.Context, /, placement: str, **options: Any) -> None:
    """Write a placement in the format of a system that deploys it.

    PLACEMENT is a file of plan solve -o. What the target cannot express is listed at the end.

    \b
    Scripts that start the plan's Tritons on this host, and Envoy in front of them:
      plan export placement.json --to triton --model-folder models -o deploy/triton
      plan export placement.json --to envoy -o deploy/envoy
    Containers of this host, with Envoy and Prometheus:
      plan export placement.json --to compose --model-folder models -o deploy/compose
    Kubernetes objects, with the models on a volume:
      plan export placement.json --to kubernetes --model-folder models --model-source pvc:models -o deploy/k8s
    The plan's MIG geometry on the GPUs that there are:
      plan export placement.json --to mig-parted --inventory nodes.json -o deploy/mig

    Exit codes: 0 written, 1 a failure, 2 a wrong command line or input, or --strict and a part that is not expressed.
    """
    settings = ExportSettings(**typed(ctx, options))
    export = export_with(read_placement(placement), settings)
    for file in export.files:
        click.echo(f"{settings.output}/{printable(file.path)}")
    for fact in export.not_expressed:
        click.echo(printable(in_flags(f"not expressed: {fact}", FLAGS)), err=True)
    for line in export.usage:
        click.echo(printable(line), err=True)
