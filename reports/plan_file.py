"""Read a file about a plan: the placement, or the verification of one."""

from __future__ import annotations

import json
from pathlib import Path

from analyzer.errors import UsageError
from planner.placement.document import Placement
from planner.placement.file import read_placement
from planner.verification.document import Verification
from planner.verification.file import read_verification

_WAY_OUT = "give a file that plan solve -o or plan verify wrote"


def read_plan_file(path: str | Path) -> Placement | Verification:
    """Read a placement or a verification, whichever the file's content is.

    Raises
    ------
    UsageError
        If the file cannot be read, is no JSON, is neither of the two, or does not follow its schema.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}; {_WAY_OUT}") from None
    except ValueError as error:
        raise UsageError(f"{path} is no JSON: {error}; {_WAY_OUT}") from None
    keys = document.keys() if isinstance(document, dict) else set()
    if {"contents", "verdict"} <= keys:
        return read_verification(path)
    if {"gpus", "objective"} & keys:
        return read_placement(path)
    raise UsageError(f"{path} is neither a placement nor a verification; {_WAY_OUT}")
