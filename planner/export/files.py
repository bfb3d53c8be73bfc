"""What an exporter gives: files, links and what the target cannot express; and how they are written to a folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from analyzer.errors import TritonpackError, UsageError
from analyzer.formats.files import write_whole


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportFile:
    """A text file of an export.

    Parameters
    ----------
    path : str
        Relative to the export's folder, with ``/``.
    executable : bool
        Whether it is a program.
    """

    path: str
    text: str
    executable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportLink:
    """A file or folder of the user's model repository that the export refers to.

    Parameters
    ----------
    path : str
        Relative to the export's folder, with ``/``.
    source : Path
        The absolute path of what it is.
    """

    path: str
    source: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """What an exporter gives.

    Parameters
    ----------
    not_expressed : tuple of str
        What of the plan the target's format cannot say, as sentences.
    usage : tuple of str
        Command lines that use the files, run in their folder.
    """

    files: tuple[ExportFile, ...]
    links: tuple[ExportLink, ...] = ()
    not_expressed: tuple[str, ...] = ()
    usage: tuple[str, ...] = ()


def write_export(export: Export, folder: Path, *, target: str = "files", copy: bool = False) -> None:
    """Write an export to a folder, which is made; files of an earlier export to it that are no longer needed go.

    Parameters
    ----------
    target : str
        Exports to different targets may share a folder, where each replaces only its own files.
    copy : bool
        Whether the parts of the model repository are copied; they are linked otherwise.

    Raises
    ------
    UsageError
        If a file that no export wrote is in the way.
    TritonpackError
        If the folder cannot be written to.
    """
    wanted = [file.path for file in export.files] + [link.path for link in export.links]
    assert len(set(wanted)) == len(wanted), "two parts of an export have one path"
    manifest = folder / f".tritonpack-{target}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        earlier = set(json.loads(manifest.read_text(encoding="utf-8"))) if manifest.is_file() else set()
        for path in wanted:
            there = (folder / path).is_symlink() or (folder / path).exists()
            if there and not _is_of(earlier, folder, path):
                raise UsageError(
                    f"{folder / path} exists and is of no earlier export to {target}: choose another `output`"
                )
        # the list comes first: a run that is ended half way leaves nothing that the next one would not recognize
        write_whole(manifest, json.dumps(sorted({*earlier, *wanted}), indent=0))
        _remove(folder, earlier - set(wanted))
        for file in export.files:
            _write(file, folder)
        for link in export.links:
            _link(link, folder, copy=copy)
        write_whole(manifest, json.dumps(sorted(wanted), indent=0))
    except json.JSONDecodeError:
        raise UsageError(f"{manifest} is no list of an export's files: choose another `output`") from None
    except OSError as error:
        raise TritonpackError(f"{folder} cannot be written: {error.strerror}: {error.filename}") from None


def _is_of(earlier: set[str], folder: Path, path: str) -> bool:
    """Say whether what is there is of an earlier export: listed, below a link of it, or a folder of its files only."""
    if any(str(part) in earlier for part in (PurePosixPath(path), *PurePosixPath(path).parents)):
        return True
    place = folder / path
    if place.is_symlink() or not place.is_dir():
        return False
    parts = [part for part in place.rglob("*") if part.is_symlink() or not part.is_dir()]
    return all(_is_of(earlier, folder, str(part.relative_to(folder))) for part in parts)


def _remove(folder: Path, paths: Iterable[str]) -> None:
    """Remove parts of an earlier export, and folders that are empty then; what links lead to stays."""
    root = folder.resolve()
    for path in sorted(paths, reverse=True):
        part = root / path
        if ".." in Path(path).parts or Path(path).is_absolute():
            continue
        if part.is_symlink() or part.is_file():
            part.unlink()
        elif part.is_dir():
            shutil.rmtree(part)  # a copy of a version folder
        for parent in part.parents:
            if parent == root or not parent.is_dir() or any(parent.iterdir()):
                break
            parent.rmdir()


def _write(file: ExportFile, folder: Path) -> None:
    path = folder / file.path
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, file.text)
    if file.executable:
        mode = path.stat().st_mode
        path.chmod(mode | (mode & 0o444) >> 2)  # who may read it may run it


def _link(link: ExportLink, folder: Path, *, copy: bool) -> None:
    path = folder / link.path
    _remove(folder, [link.path])
    path.parent.mkdir(parents=True, exist_ok=True)
    if not copy:
        path.symlink_to(link.source)
    elif link.source.is_dir():
        shutil.copytree(link.source, path)
    else:
        shutil.copy2(link.source, path)
