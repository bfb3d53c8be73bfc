"""Rewrite nvidia-pytriton's wheel with only the server, its Python backend and one stub, to make it small."""

from __future__ import annotations

import base64
import hashlib
import re
import sys
import zipfile
from pathlib import Path

KEPT_STUB = "3.12"
# stubs of other Python versions; the library that only the newest of them needs; the Python API around the server
_DROPPED = re.compile(
    rf"pytriton/tritonserver/python_backend_stubs/(?!{re.escape(KEPT_STUB)}/)"
    r"|nvidia_pytriton\.libs/libpython3-"
    r"|pytriton/(?!tritonserver/|__init__\.py$)"
)


def strip(wheel: Path) -> None:
    """Replace a wheel by one without the files that are not needed, with a new RECORD."""
    stripped = wheel.with_suffix(".part")
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(stripped, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as new:
        lines = []
        for entry in old.infolist():
            if entry.filename.endswith(".dist-info/RECORD"):
                record = entry.filename
            elif not _DROPPED.match(entry.filename):
                data = old.read(entry)
                new.writestr(entry, data, compress_type=zipfile.ZIP_DEFLATED)
                digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
                lines.append(f"{entry.filename},sha256={digest},{len(data)}\n")
        new.writestr(record, "".join(lines) + f"{record},,\n")
    stripped.replace(wheel)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        strip(Path(name))
