"""Where servers in a cluster find the model repository.                                                     [pure]"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from analyzer.errors import UsageError

MOUNT = "/models"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """A model repository that servers reach.

    Parameters
    ----------
    volume : dict or None
        The Kubernetes volume that has it, without its name; None for an object store.
    uri : str
        What Triton is given: the place where the volume is mounted, or the store's URI.
    """

    volume: dict[str, Any] | None
    uri: str


def model_source(text: str | None) -> ModelSource:
    """Read ``hostPath:/DIR``, ``pvc:NAME``, or an ``s3://``, ``gs://`` or ``as://`` URI.

    Raises
    ------
    UsageError
        If it is none of them, or missing.
    """
    forms = "hostPath:/DIR, pvc:NAME, or an s3://, gs:// or as:// URI"
    if text is None:
        raise UsageError(f"say where the servers find the models, with `model_source`: {forms}")
    kind, _, rest = text.partition(":")
    if kind == "hostPath" and rest.startswith("/") and ".." not in rest.split("/"):
        return ModelSource(volume={"hostPath": {"path": rest, "type": "Directory"}}, uri=MOUNT)
    if kind == "pvc" and re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", rest):
        return ModelSource(volume={"persistentVolumeClaim": {"claimName": rest, "readOnly": True}}, uri=MOUNT)
    if kind in ("s3", "gs", "as") and re.fullmatch(r"//[^\s/]+\S*", rest):
        return ModelSource(volume=None, uri=text)
    raise UsageError(f"`model_source` is {text!r}; it is {forms}")
