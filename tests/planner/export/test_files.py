"""Test how an export's files and links are written."""

from __future__ import annotations

from pathlib import Path

import pytest

from analyzer.errors import TritonpackError, UsageError
from planner.export.files import Export, ExportFile, ExportLink, write_export


def contents(folder: Path) -> dict[str, str]:
    """Return the texts of a folder's files by their paths, without the list of the export's files."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".tritonpack")]
    return {str(path.relative_to(folder)): path.read_text() for path in files}


def test_an_export_replaces_an_earlier_one_and_nothing_else(tmp_path: Path) -> None:
    """What the earlier export wrote and the new one does not is removed; the user's own files stay."""
    write_export(Export(files=(ExportFile(path="a/x", text="1"), ExportFile(path="b", text="1"))), tmp_path)
    (tmp_path / "mine").write_text("mine")
    write_export(Export(files=(ExportFile(path="b", text="2"),)), tmp_path)
    assert contents(tmp_path) == {"b": "2", "mine": "mine"}
    assert not (tmp_path / "a").exists()


def test_exports_to_different_targets_share_a_folder(tmp_path: Path) -> None:
    """Each target's files are replaced by its next export, and those of the other stay."""
    write_export(Export(files=(ExportFile(path="a", text="1"), ExportFile(path="b", text="1"))), tmp_path, target="x")
    write_export(Export(files=(ExportFile(path="c", text="1"),)), tmp_path, target="y")
    write_export(Export(files=(ExportFile(path="a", text="2"),)), tmp_path, target="x")
    assert contents(tmp_path) == {"a": "2", "c": "1"}


def test_a_link_becomes_a_folder_and_a_folder_a_link(tmp_path: Path) -> None:
    """A model that only another called becomes planned, and back: its link and its folder are of the export."""
    source = tmp_path / "source"
    source.mkdir()
    linked = Export(files=(), links=(ExportLink(path="models/d", source=source),))
    planned = Export(files=(ExportFile(path="models/d/config.pbtxt", text="x"),))
    folder = tmp_path / "out"
    for export in (linked, planned, linked):
        write_export(export, folder)
    assert (folder / "models/d").is_symlink()
    assert not list(source.iterdir())


def test_names_with_line_ends_of_any_kind_are_recognized(tmp_path: Path) -> None:
    """What Unicode calls the end of a line is no end of an entry in the list of the export's files."""
    write_export(Export(files=(ExportFile(path="a\u2028mine", text="1"),)), tmp_path)
    (tmp_path / "mine").write_text("mine")
    write_export(Export(files=()), tmp_path)
    assert contents(tmp_path) == {"mine": "mine"}


def test_a_file_of_someone_else_is_not_overwritten(tmp_path: Path) -> None:
    """A file in the way that no export wrote is an error, and nothing is written."""
    (tmp_path / "b").write_text("mine")
    with pytest.raises(UsageError, match="b exists and is of no earlier export to files"):
        write_export(Export(files=(ExportFile(path="a", text="1"), ExportFile(path="b", text="1"))), tmp_path)
    assert contents(tmp_path) == {"b": "mine"}


@pytest.mark.parametrize("copy", [False, True])
def test_replacing_links_leaves_what_they_lead_to(tmp_path: Path, copy: bool) -> None:
    """Version folders are linked or copied; an export that no longer has them removes the link or the copy only."""
    version = tmp_path / "models" / "echo" / "1"
    version.mkdir(parents=True)
    (version / "model.py").write_text("code")
    link = ExportLink(path="gpu-0/echo/1", source=version)
    folder = tmp_path / "out"
    for _ in range(2):  # again over an earlier one
        write_export(Export(files=(), links=(link,)), folder, copy=copy)
        assert (folder / "gpu-0/echo/1/model.py").read_text() == "code"
        assert (folder / "gpu-0/echo/1").is_symlink() is not copy
    write_export(Export(files=()), folder)
    assert (version / "model.py").read_text() == "code"
    assert not (folder / "gpu-0").exists()


def test_a_program_can_be_run(tmp_path: Path) -> None:
    """An executable file has the permission to be executed, and others do not."""
    files = (ExportFile(path="run", text="#!/bin/sh\n", executable=True), ExportFile(path="text", text=""))
    write_export(Export(files=files), tmp_path)
    assert (tmp_path / "run").stat().st_mode & 0o100
    assert not (tmp_path / "text").stat().st_mode & 0o100


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    """A file where the folder should be is an error that names it."""
    (tmp_path / "out").write_text("")
    with pytest.raises(TritonpackError, match="cannot be written: "):
        write_export(Export(files=(ExportFile(path="a", text="1"),)), tmp_path / "out")
