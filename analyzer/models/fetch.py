"""Fetch a model repository from a URI to a folder of this host, which is removed with the process that fetched it."""

from __future__ import annotations

import importlib.util
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from analyzer.errors import UsageError
from analyzer.formats.temporary_folder import temporary_folder
from analyzer.models.config_file import CONFIG_FILE

_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")
_TIMEOUT_S = 60.0  # without a byte


@contextmanager
def fetched(uri: str) -> Iterator[Path]:
    """Yield a temporary folder with the model repository of a URI.

    Parameters
    ----------
    uri : str
        A tar or zip archive behind ``file://``, ``http://`` or ``https://``, or a folder behind ``file://``; with the
        package fsspec, either of these in the stores that it knows, such as ``s3://``.

    Raises
    ------
    UsageError
        If it cannot be fetched.
    """
    with temporary_folder("tritonpack-models-") as folder:
        _fetch(uri, folder)
        yield _repository_in(folder)


def _fetch(uri: str, folder: Path) -> None:
    parts = urlsplit(uri)
    is_archive = parts.path.endswith(_ARCHIVES)
    try:
        if parts.scheme == "file" and not is_archive:
            shutil.copytree(url2pathname(parts.path), folder, dirs_exist_ok=True)
        elif parts.scheme == "file":
            with Path(url2pathname(parts.path)).open("rb") as file:
                _unpack(file, parts.path, folder)
        elif parts.scheme in ("http", "https"):
            if not is_archive:
                raise UsageError(f"`model_uri`: {uri} is no archive; give one that ends in {', '.join(_ARCHIVES)}")
            with urllib.request.urlopen(uri, timeout=_TIMEOUT_S) as response:  # noqa: S310 - the schemes are above
                _unpack(response, parts.path, folder)
        else:
            _fetch_by_fsspec(uri, parts.scheme, is_archive, folder)
    except urllib.error.HTTPError as error:
        raise UsageError(f"`model_uri`: {uri} cannot be fetched: {error.code} {error.reason}") from None
    except (tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        raise UsageError(f"`model_uri`: {uri} is not an archive that can be read: {error}") from None
    except OSError as error:  # also urllib's URLError
        why = error.strerror or getattr(error, "reason", None) or error
        raise UsageError(f"`model_uri`: {uri} cannot be fetched: {why}") from None


def _fetch_by_fsspec(uri: str, scheme: str, is_archive: bool, folder: Path) -> None:
    if importlib.util.find_spec("fsspec") is None:
        raise UsageError(
            f"`model_uri`: {scheme}:// needs the package fsspec (pip install fsspec), and a package for its store such "
            "as s3fs; file://, http:// and https:// need none"
        )
    import fsspec

    try:
        if is_archive:
            with fsspec.open(uri, "rb") as file:
                _unpack(file, uri, folder)
        else:
            system, path = fsspec.core.url_to_fs(uri)
            system.get(f"{path.rstrip('/')}/", f"{folder}/", recursive=True)
    except (ValueError, ImportError) as error:  # of an unknown store, and of one whose package is not installed
        raise UsageError(f"`model_uri`: {uri} cannot be fetched: {error}") from None


def _unpack(file: IO[bytes] | Any, name: str, folder: Path) -> None:
    """Unpack an archive; entries that lead out of the folder are refused by tarfile's filter and zipfile."""
    if name.endswith(".zip"):
        with tempfile.TemporaryFile(dir=folder) as kept:  # zipfile needs a file in which it can seek
            shutil.copyfileobj(file, kept)
            with zipfile.ZipFile(kept) as archive:
                archive.extractall(folder)  # noqa: S202 - it drops absolute names and ..
        return
    with tarfile.open(fileobj=file, mode="r|*") as archive:
        archive.extractall(folder, filter="data")


def _repository_in(folder: Path) -> Path:
    """Return the folder itself, or the only folder in it, if that one is no model."""
    entries = list(folder.iterdir())
    if len(entries) == 1 and entries[0].is_dir():
        below = list(entries[0].iterdir())
        if not any(entry.name == CONFIG_FILE or entry.name.isdigit() for entry in below):
            return entries[0]
    return folder
