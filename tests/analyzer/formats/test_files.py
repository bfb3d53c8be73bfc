"""Files that appear whole or not at all, and names that are fit for files."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from analyzer.formats.files import file_stem, free_stem, write_whole


def test_write_whole_replaces_the_old_content(tmp_path: Path) -> None:
    """The new content stands alone: nothing of a longer old file and no temporary file is left."""
    path = tmp_path / "plan.json"
    write_whole(path, "a much longer old content\n")
    write_whole(path, "new: é\r\n")
    assert path.read_bytes() == "new: é\r\n".encode()
    assert [file.name for file in tmp_path.iterdir()] == ["plan.json"]


def test_write_whole_gives_the_permissions_of_the_umask(tmp_path: Path) -> None:
    """Under umask 027 a file is 0640, as any other program would make it."""
    old = os.umask(0o027)
    try:
        write_whole(tmp_path / "table.csv", b"x")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "table.csv").stat().st_mode) == 0o640


def test_write_whole_leaves_the_old_file_when_it_cannot_replace_it(tmp_path: Path) -> None:
    """A path that cannot be replaced (a folder stands there) raises and leaves no part behind."""
    (tmp_path / "table.csv").mkdir()
    with pytest.raises(IsADirectoryError):
        write_whole(tmp_path / "table.csv", "x")
    assert [file.name for file in tmp_path.iterdir()] == ["table.csv"]


@pytest.mark.parametrize(
    ("name", "stem"), [("..", "model"), ("a/../b", "a_.._b"), ("é", "model"), ("x" * 99, "x" * 80)]
)
def test_file_stem_has_only_harmless_characters(name: str, stem: str) -> None:
    """Letters, digits, dot, dash and underscore stay, and no file is hidden."""
    assert file_stem(name) == stem


def test_free_stem_ignores_case() -> None:
    """Two files whose names differ in case only would be one on some file systems."""
    assert free_stem("Model", {"model", "model-2"}) == "Model-3"
