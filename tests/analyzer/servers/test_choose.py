"""Test the choice of the server by launch mode, and the reason that mode auto gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from analyzer.errors import ServerError, UsageError
from analyzer.servers import LaunchMode
from analyzer.servers.choose import Launch, choose_server


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Set DOCKER_HOST to an address without an engine."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none")


def test_docker_mode_names_nvidias_image_of_the_release() -> None:
    """--triton-version is the tag of NVIDIA's image."""
    server, _ = choose_server(Launch(mode=LaunchMode.DOCKER, triton_version="25.01-py3"))
    assert server.describe() == "docker, nvcr.io/nvidia/tritonserver:25.01-py3"


def test_docker_mode_takes_the_image_that_is_named() -> None:
    """--triton-image wins over --triton-version."""
    server, _ = choose_server(Launch(mode=LaunchMode.DOCKER, image="own/triton:1"))
    assert server.describe() == "docker, own/triton:1"


def test_local_and_remote_modes_are_used_as_given() -> None:
    """Modes local and remote give a local and a remote server."""
    assert choose_server(Launch(mode=LaunchMode.LOCAL))[0].describe().startswith("local, ")
    assert choose_server(Launch(mode=LaunchMode.REMOTE, url="host:8000"))[0].describe() == "remote, host:8000"


def test_auto_with_an_address_is_remote() -> None:
    """With the address of a running server, mode auto uses that server."""
    assert choose_server(Launch(url="host:8000"))[0].describe() == "remote, host:8000"


@pytest.mark.usefixtures("no_engine", "local_server")
def test_auto_without_an_engine_is_local_and_says_so() -> None:
    """Without a Docker engine, mode auto uses the Triton of this host and gives the reason."""
    server, why = choose_server(Launch())
    assert server.describe().startswith("local, ")
    assert why == "no Docker engine answers"


@pytest.mark.usefixtures("no_engine")
def test_auto_with_nothing_names_both_ways_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without an engine and without Triton (empty PATH, pytriton without a server), the error names both remedies."""
    (tmp_path / "pytriton").mkdir()
    (tmp_path / "pytriton" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServerError, match=r"Docker engine .* pip install 'tritonpack\[local\]'"):
        choose_server(Launch())


@pytest.mark.docker
def test_auto_with_an_engine_that_has_the_image_is_docker(triton_image: str) -> None:
    """If the engine has the image, mode auto uses Docker, because nothing has to be downloaded."""
    server, why = choose_server(Launch())
    assert server.describe() == f"docker, {triton_image}"
    assert why == f"the Docker engine has {triton_image}"


@pytest.mark.docker
@pytest.mark.usefixtures("docker_engine", "local_server")
def test_auto_with_an_engine_that_lacks_the_image_is_local() -> None:
    """If the engine has neither the image nor a GPU runtime, mode auto runs locally instead of pulling gigabytes."""
    server, why = choose_server(Launch(image="tritonpack.invalid/none:1"))
    assert server.describe().startswith("local, ")
    assert "neither the image nor a GPU runtime" in why


@pytest.mark.parametrize(
    "options",
    [
        {"mode": LaunchMode.REMOTE},
        {"mode": LaunchMode.LOCAL, "url": "host:8000"},
        {"mode": LaunchMode.DOCKER, "url": "host:8000"},
        {"metrics_url": "http://host:8002/metrics"},
    ],
)
def test_options_that_contradict_each_other_are_refused(options: dict[str, str]) -> None:
    """Refused are an address with a mode that starts a server, mode remote without one, and metrics without one."""
    with pytest.raises(UsageError, match="url"):
        Launch(**options)  # type: ignore[arg-type]
