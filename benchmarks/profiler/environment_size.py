"""Print the total size in bytes of a distribution and all that it requires, and the number of these distributions.

It is run by the interpreter of the environment to be counted, so it imports only what every environment has.
"""

import importlib.metadata
import re
import sys
from pathlib import Path

from pip._vendor.packaging.requirements import Requirement  # every environment made with venv has it


def required(name: str, extras: frozenset[str], found: dict[str, set[str]]) -> None:
    """Collect the names of a distribution and of what it requires, with the extras that are asked for."""
    key = re.sub(r"[-_.]+", "-", name).lower()
    if key in found and extras <= found[key]:
        return
    found.setdefault(key, set()).update(extras)
    try:
        requirements = importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        del found[key]  # it is required on another platform only
        return
    for text in requirements:
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras or {""}):
            required(requirement.name, frozenset(requirement.extras), found)


def size_bytes(name: str) -> int:
    """Return the sum of the sizes of a distribution's files, with their compiled byte code where it exists."""
    files = importlib.metadata.files(name) or []
    paths = {Path(file.locate()) for file in files}
    paths |= {
        cached for path in paths if path.suffix == ".py" for cached in path.parent.glob(f"__pycache__/{path.stem}.*")
    }
    return sum(path.stat().st_size for path in paths if path.is_file())


if __name__ == "__main__":
    names: dict[str, set[str]] = {}
    required(sys.argv[1], frozenset(), names)
    print(sum(size_bytes(name) for name in names), len(names))
