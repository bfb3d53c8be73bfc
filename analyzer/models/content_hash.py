"""Hash the files of a model, and check that links stay in the repository."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

_CHUNK_BYTES = 1 << 20
_NOT_CONTENT = ("__pycache__",)  # written by Python itself when a model is first loaded


def hash_files(folder: Path, digest: hashlib._Hash) -> None:
    """Update a hash with the paths, sizes and contents of a model's files, in the order of their paths.

    Raises
    ------
    OSError
        If a file cannot be read.
    ValueError
        If a link leaves the repository or leads to a folder above it; the message is one line for the user.
    """
    for path in sorted(_files(folder, folder.parent.resolve(), frozenset())):
        digest.update(f"{folder.name}/{path.relative_to(folder)}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)


def _files(folder: Path, root: Path, above: frozenset[Path]) -> Iterator[Path]:
    """Yield the files under a folder; links are followed, and must stay under `root` and form no cycle."""
    real = within(folder, root)
    if real in above:
        raise ValueError(f"{folder} is a link to a folder above it")
    for entry in os.scandir(folder):
        path = Path(entry.path)
        if entry.is_dir():
            if entry.name not in _NOT_CONTENT:
                yield from _files(path, root, above | {real})
        else:
            within(path, root)
            yield path


def within(path: Path, root: Path) -> Path:
    """Resolve a path and its links, and check that it lies under `root`.

    Raises
    ------
    OSError
        If the path does not exist.
    ValueError
        If it lies elsewhere; the message is one line for the user.
    """
    real = path.resolve(strict=True)
    if not real.is_relative_to(root.resolve()):
        raise ValueError(f"{path} is a link that leaves the repository; put a copy in its place")
    return real
