"""Test a remote server against a fake Triton at the socket."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from analyzer.errors import ServerError, UsageError
from analyzer.servers.remote import RemoteServer
from analyzer.sweep.job import Job, build_job
from analyzer.sweep.settings import SweepSettings
from tests.builders.model_repositories import write_model


class _PollingTriton(BaseHTTPRequestHandler):
    """Answers as Triton 24.10 does with --model-control-mode=none or poll."""

    def do_GET(self) -> None:
        self._answer(200, b'{"name":"a","version":"2.51.0","max_batch_size":4}')

    def do_POST(self) -> None:
        if self.path == "/v2/repository/index":
            self._answer(200, b'[{"name":"a","version":"1","state":"READY"},{"name":"b"}]')
        else:
            self._answer(503, b'{"error":"explicit model load / unload is not allowed if polling is enabled"}')

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        pass


@pytest.fixture
def polling_triton() -> Iterator[str]:
    """Yield the address of a server that does not load models on request."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _PollingTriton) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def job(address: str, **options: object) -> Job:
    """Build the job of a sweep on the server at an address, without a model folder."""
    settings = SweepSettings(url=address, **options)  # type: ignore[arg-type]
    return build_job(settings, RemoteServer(address).read_models())


def test_a_server_that_loads_no_models_on_request_is_measured_as_it_is(polling_triton: str) -> None:
    """Without explicit model control only what is loaded can be measured; it once was refused altogether."""
    found = job(polling_triton)
    assert [(model.name, model.max_batch_size) for model in found.models] == [("a", 4)]
    assert found.notes == (
        "a was loaded before, and is measured as it is: own memory is not known, as the server loads none on request",
    )
    with pytest.raises(ServerError, match=r"b is not loaded there: .*explicit, or name models that are .* \(a\)"):
        job(polling_triton, model_names=("a", "b"))


def test_a_loaded_model_gets_no_other_configuration_unasked(polling_triton: str) -> None:
    """Each option that needs another load of a model that others loaded is refused with the way out."""
    for option, value in {"instances": (2,), "max_batch_sizes": (2,), "dynamic_batching": ((True, 0.0),)}.items():
        with pytest.raises(UsageError, match=f"`{option}` needs a load of a, .*start the server with --model-control"):
            job(polling_triton, **{option: value})
        models = replace(RemoteServer(polling_triton).read_models(), loads_on_request=True)
        settings = SweepSettings(url=polling_triton, **{option: value})  # type: ignore[arg-type]
        with pytest.raises(UsageError, match=f"`{option}` gives a another configuration.*`allow_reload=True`"):
            build_job(settings, models)
    with pytest.raises(UsageError, match="`allow_reload` needs a load of a"):
        job(polling_triton, allow_reload=True)


def test_models_of_a_folder_are_measured_as_the_server_has_them(polling_triton: str, repository: Path) -> None:
    """What is loaded may be other files than the folder's: configuration and hash are the server's."""
    write_model(repository, "a", max_batch_size=8)
    here = job(polling_triton, model_folder=repository, batches=(4,)).models[0]
    there = job(polling_triton, batches=(4,)).models[0]
    assert (here.max_batch_size, here.content_hash) == (4, there.content_hash)
    assert here.content_hash != build_job(SweepSettings(model_folder=repository)).models[0].content_hash


def test_what_is_no_triton_is_one_line(repository: Path) -> None:
    """An address where nothing answers is an error before anything is measured."""
    with pytest.raises(ServerError, match="does not answer: start it there, or correct `url`"):
        RemoteServer("127.0.0.1:9").read_models()
