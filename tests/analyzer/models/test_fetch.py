"""Test the fetching of model repositories."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from analyzer.errors import UsageError
from analyzer.formats.temporary_folder import temporary_folder
from analyzer.models.fetch import fetched
from analyzer.models.repository import read_repository, select
from tests.builders.model_repositories import write_model
from tests.conftest import wait_for


def hashes(folder: Path) -> dict[str, str]:
    """Return the content hash of each model of a repository."""
    return {model.name: model.content_hash for model in select(read_repository(folder))}


@pytest.mark.parametrize("kind", ["folder", "gztar", "zip", "tar"])
@pytest.mark.parametrize("scheme", ["file", "local"])  # of urllib, and of fsspec
def test_fetched_models_have_the_same_content(repository: Path, tmp_path: Path, kind: str, scheme: str) -> None:
    """A folder, and an archive of a folder in which the models are, give the models; the copy is removed."""
    write_model(repository, "a")
    write_model(repository, "b")
    source = repository
    if kind != "folder":
        source = Path(shutil.make_archive(str(tmp_path / "archive"), kind, tmp_path, "models"))
    with fetched(f"{scheme}://{source}") as copy:
        assert copy != repository
        assert hashes(copy) == hashes(repository)
    assert not copy.exists()


def test_archive_of_a_single_model_is_a_repository(repository: Path, tmp_path: Path) -> None:
    """The only folder of an archive is not taken for the repository if it is a model."""
    write_model(repository, "only")
    archive = shutil.make_archive(str(tmp_path / "archive"), "tar", repository)
    with fetched(f"file://{archive}") as copy:
        assert [model.name for model in read_repository(copy)] == ["only"]


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("file:///none.tar", "No such file"),
        ("file:///none", "No such file"),
        ("http://127.0.0.1:9/models.tar", "Connection refused"),
        ("http://127.0.0.1:9/models", "is no archive; give one that ends in .tar, .tar.gz"),
        ("nonsense://models.tar", "Protocol not known: nonsense"),
    ],
)
def test_what_cannot_be_fetched_is_said(uri: str, said: str) -> None:
    """The message has the URI and the reason."""
    with pytest.raises(UsageError, match="`model_uri`") as caught, fetched(uri):
        pass
    assert uri in caught.value.message
    assert said in caught.value.message


def test_archives_that_are_broken_or_lead_elsewhere_are_refused(tmp_path: Path) -> None:
    """A text is no archive; an entry that leads out of the folder is not unpacked."""
    broken, outside = tmp_path / "broken.tar", tmp_path / "outside.tar"
    broken.write_text("no archive")
    with tarfile.open(outside, "w") as archive:
        entry = tarfile.TarInfo("../escaped")
        archive.addfile(entry, io.BytesIO())
    for file in (broken, outside):
        with pytest.raises(UsageError, match="is not an archive that can be read"), fetched(f"file://{file}"):
            pass
    assert not list(tmp_path.glob("**/escaped"))


def test_temporary_folder_is_removed_when_its_process_is_killed(tmp_path: Path) -> None:
    """After SIGKILL the folder is gone soon."""
    code = (
        "import sys, time; from analyzer.formats.temporary_folder import temporary_folder\n"
        f"with temporary_folder('{tmp_path}/kept-') as folder: print(folder, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        assert folder.is_dir()
        os.kill(process.pid, signal.SIGKILL)
    wait_for(lambda: not folder.exists(), "the folder is removed")


def test_temporary_folder_is_gone_after_a_failure() -> None:
    """The folder is removed when its block ends with an exception."""
    with pytest.raises(ZeroDivisionError), temporary_folder("tritonpack-test-") as folder:
        raise ZeroDivisionError
    assert not folder.exists()
