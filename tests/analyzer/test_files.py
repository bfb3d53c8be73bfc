"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from analyzer.files import write_whole


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
