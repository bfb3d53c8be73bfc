"""Test the writing of whole files, and file names made from model names."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from analyzer.formats.files import file_stem, free_stem, write_whole


def test_write_whole_replaces_the_old_content(tmp_path: Path) -> None:
    """Only the new content remains: nothing of a longer old file, and no temporary file."""
    path = tmp_path / "plan.json"
    write_whole(path, "a much longer old content\n")
    write_whole(path, "new: é\r\n")
    assert path.read_bytes() == "new: é\r\n".encode()
    assert [file.name for file in tmp_path.iterdir()] == ["plan.json"]


def test_write_whole_gives_the_permissions_of_the_umask(tmp_path: Path) -> None:
    """Under umask 027 the file's mode is 0640, as for a file that is created directly."""
    old = os.umask(0o027)
    try:
        write_whole(tmp_path / "table.csv", b"x")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "table.csv").stat().st_mode) == 0o640


def test_write_whole_leaves_the_old_file_when_it_cannot_replace_it(tmp_path: Path) -> None:
    """If the path cannot be replaced (here it is a folder), the error is raised and no temporary file remains."""
    (tmp_path / "table.csv").mkdir()
    with pytest.raises(IsADirectoryError):
        write_whole(tmp_path / "table.csv", "x")
    assert [file.name for file in tmp_path.iterdir()] == ["table.csv"]


@pytest.mark.parametrize(
    ("name", "stem"), [("..", "model"), ("a/../b", "a_.._b"), ("é", "model"), ("x" * 99, "x" * 80)]
)
def test_file_stem_has_only_harmless_characters(name: str, stem: str) -> None:
    """Letters, digits, dot, dash and underscore are kept; the name never begins with a dot."""
    assert file_stem(name) == stem


def test_free_stem_ignores_case() -> None:
    """Names that differ only in case count as equal, because some file systems treat them so."""
    assert free_stem("Model", {"model", "model-2"}) == "Model-3"
