"""Test `analyze` on real Tritons that others own and use: gRPC only, TLS, tokens, other modes, several at once."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import tritonclient.grpc

from analyzer import measure
from analyzer.measurements.source import read_measurements
from analyzer.servers.local import LocalServer
from planner import plan, verify
from tests.builders.certificates import make_certificates
from tests.builders.model_repositories import write_ensemble, write_model, write_stream
from tests.live.analysis import ANALYZE
from tests.live.owned import TOKEN, Listener, Owned, Traffic, envoy, in_use, triton
from tests.live.test_remote import state
from tests.live.test_servers import ask

ENVIRONMENT = dict(os.environ)
QUICK = ("--max-trial-seconds", "1", "--precision", "40")


@dataclass(frozen=True)
class Group:
    """A Triton that others use, a second one, and addresses of an Envoy in front of them."""

    folder: Path
    used: Owned
    other: Owned
    traffic: Traffic
    envoy: dict[str, str]

    @property
    def ca(self) -> Path:
        """The certificate of the authority that signed Envoy's."""
        return self.folder / "ca.pem"


@pytest.fixture(scope="module", name="triton")
def _triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Group]:
    """Serve models with one Triton that is in use and one that is not, for all tests of this file."""
    folder = tmp_path_factory.mktemp("owned")
    repository = folder / "models"
    for name in ("theirs", "ours"):
        write_model(repository, name)
    write_ensemble(repository, "whole", ["theirs", "ours"])
    write_stream(repository, "texts")
    make_certificates(folder)
    with ExitStack() as stack:
        used = stack.enter_context(triton(repository, load=["theirs"]))
        other = stack.enter_context(triton(repository, load=["theirs"]))
        traffic = stack.enter_context(in_use(used))
        listeners = {
            "https": Listener("http", [used.http], tls=True, token=TOKEN),
            "grpcs": Listener("grpc", [used.grpc], tls=True, token=TOKEN),
            "mutual": Listener("http", [used.http], tls=True, asks=True),
            "both http": Listener("http", [used.http, other.http]),
            "both grpc": Listener("grpc", [used.grpc, other.grpc]),
        }
        yield Group(folder, used, other, traffic, stack.enter_context(envoy(folder, listeners)))
        assert min(traffic.answered.values()) > 100
        assert traffic.failed == []


@pytest.fixture
def group(triton: Group, local_server: LocalServer) -> Iterator[Group]:
    """Yield the servers; check that the test left both as they were, and that no request of others failed."""
    before = [state(one.http) for one in (triton.used, triton.other)]
    answered = dict(triton.traffic.answered)
    yield triton
    assert [state(one.http) for one in (triton.used, triton.other)] == before
    assert ask(triton.used.http, "GET", "/v2/systemsharedmemory/status")[1] == []
    assert triton.traffic.failed == []
    assert all(count > answered[protocol] for protocol, count in triton.traffic.answered.items())


def analyze(url: str, folder: Path, *arguments: object, code: int = 0, **environment: str) -> str:
    """Measure the server at an address; return what the command said, once its exit code is checked."""
    # a metrics page would take 5 s a run; unit tests cover its TLS and token
    page = () if url.startswith("grpc") else ("--metrics-url", "http://127.0.0.1:9")
    command = [ANALYZE, "--url", url, *page, "-o", folder / "out", *QUICK, *arguments]
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=120, env={**ENVIRONMENT, **environment}
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def stored(folder: Path) -> bytes:
    """Return everything that a run wrote."""
    return b"".join(path.read_bytes() for path in (folder / "out").rglob("*") if path.is_file())


def test_a_server_is_measured_over_grpc_alone(group: Group, tmp_path: Path) -> None:
    """Models of the server and of others, and an ensemble, are measured over gRPC beside requests of others."""
    said = analyze(f"grpc://{group.used.grpc}", tmp_path, "--model-names", "theirs,whole", "--concurrency", 2)
    for name in ("theirs", "whole"):
        assert f"{name} (grpc) on host 127.0.0.1" in said
        assert f"{name} batch 1 concurrency 2: " in said
    assert "theirs was loaded before, and is measured as it is" in said
    refused = analyze(f"grpc://{group.used.grpc}", tmp_path, "--protocol", "http", code=2)
    assert "is a gRPC endpoint: drop --protocol http, or name its HTTP endpoint" in refused


def test_a_server_without_http_that_asks_for_certificates_and_a_header(
    group: Group, local_server: LocalServer, tmp_path: Path
) -> None:
    """Triton's own mutual TLS and restricted protocols; others use it meanwhile, and shared memory goes over gRPC too.

    Nothing could be asked over HTTP here: the server does not have it.
    """
    ca, own = group.ca, group.folder
    tls = ("--grpc-use-ssl=true", "--grpc-use-ssl-mutual=true", f"--grpc-server-cert={own}/server.pem")
    tls += (f"--grpc-server-key={own}/server.key", f"--grpc-root-cert={ca}")
    only = ("--allow-http=false", "--allow-metrics=false", "--grpc-restricted-protocol=model-repository:admin=sesame")
    shown = ("--ssl-ca", ca, "--ssl-certificate", own / "client.pem", "--ssl-key", own / "client.key")
    header = ("--header", "triton-grpc-protocol-admin: sesame")
    with triton(own / "models", *tls, *only, load=["theirs"]) as owned:
        url = f"grpcs://{owned.grpc}"
        client = tritonclient.grpc.InferenceServerClient(
            owned.grpc,
            ssl=True,
            root_certificates=str(ca),
            private_key=f"{own}/client.key",
            certificate_chain=f"{own}/client.pem",
        )
        with closing(client), in_use(owned, over_grpc=client) as traffic:
            memory = ("--shared-memory", "system", "--model-names", "ours")
            said = analyze(url, tmp_path, *shown, *header, *memory)
            for arguments, fact in (
                ((), "give the certificate of its authority with --ssl-ca"),
                (shown[:2], "give --ssl-certificate and --ssl-key if it asks for a certificate"),
                (shown, "refuses access (This protocol is restricted"),
                ((*shown, "--header", "triton-grpc-protocol-admin: wrong-4711"), "what was given is not accepted"),
            ):
                (line,) = analyze(url, tmp_path, *arguments, code=1).splitlines()
                assert fact in line
                assert "4711" not in line
            assert client.get_system_shared_memory_status(headers={}, as_json=True) == {}
            index = client.get_model_repository_index(headers={"triton-grpc-protocol-admin": "sesame"}).models
            assert {(one.name, one.state) for one in index if one.state != "UNAVAILABLE"} >= {("theirs", "READY")}
            assert ("ours", "READY") not in {(one.name, one.state) for one in index}
    assert "ours (grpc+shm) on host 127.0.0.1" in said
    assert traffic.answered["grpc"] > 50
    assert traffic.failed == []


def test_tls_and_a_token_are_shown_to_every_endpoint(group: Group, tmp_path: Path) -> None:
    """An Envoy with TLS lets in one token: control and load over HTTP, then over gRPC; the token is not written."""
    url, shown = f"https://{group.envoy['https']}", ("--ssl-ca", group.ca, "--token-env", "TRITON_TOKEN")
    said = analyze(url, tmp_path, *shown, "--model-names", "theirs", TRITON_TOKEN=TOKEN)
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    from_file = ("--ssl-ca", group.ca, "--token-file", tmp_path / "token", "--grpc-url", group.envoy["grpcs"])
    said += analyze(url, tmp_path, *from_file, "--model-names", "theirs", "--protocol", "grpc")
    said += analyze(f"grpcs://{group.envoy['grpcs']}", tmp_path, *from_file[:4], "--model-names", "theirs,texts")
    for title, times in (("theirs", 1), ("theirs (grpc)", 2), ("texts (grpc)", 1)):
        assert said.count(f"{title} on host 127.0.0.1") == times
    (stream,) = [m for m in read_measurements(tmp_path / "out") if m.trial.model == "texts"]
    assert stream.stream.response_gap_p50_s == pytest.approx(0.02, rel=0.2)  # every response by itself
    for wrong, fact in (
        ((), "give the certificate of its authority with --ssl-ca"),
        (shown[:2], "refuses access (HTTP 401): give --token-file, --token-env or --header"),
        (("--ssl-ca", group.ca, "--header", f"Authorization: {TOKEN}x"), "what was given is not accepted"),
    ):
        failed = analyze(url, tmp_path, *wrong, code=1)
        assert fact in failed
        assert len(failed.splitlines()) == 1
        said += failed
    assert TOKEN not in said
    assert TOKEN.encode() not in stored(tmp_path)
    elsewhere = analyze(url.replace("127.0.0.1", "127.0.0.2"), tmp_path, "--ssl-ca", group.ca, code=1)
    assert "certificate is not valid for '127.0.0.2'" in elsewhere or "does not answer" in elsewhere


def test_python_shows_a_certificate(group: Group, tmp_path: Path) -> None:
    """`measure` has the same options; a certificate without its key is named before anything is sent."""
    found = measure(
        url=f"https://{group.envoy['mutual']}",
        ssl_ca=group.ca,
        ssl_certificate=group.folder / "client.pem",
        ssl_key=group.folder / "client.key",
        headers={"X-Tenant": "demo"},
        model_names=["theirs"],
        max_trial_s=1,
        precision_pct=40,
        output=tmp_path,
    )
    assert [m.status.measured for m in found] == [True]
    wrong = ("--ssl-ca", group.ca, "--ssl-certificate", group.folder / "client.pem")
    said = analyze(f"https://{group.envoy['mutual']}", tmp_path, *wrong, code=2)
    assert said.startswith(f"Error: --ssl-certificate {group.folder}/client.pem hold")


def test_a_plan_is_verified_on_a_server_of_others(group: Group, tmp_path: Path) -> None:
    """`plan verify` shows the same certificates and tokens; the profile is of a server of this host's own."""
    measure(
        group.folder / "models",
        model_names=["ours"],
        launch_mode="local",
        max_trial_s=1,
        precision_pct=40,
        output=tmp_path,
    )
    (tmp_path / "token").write_text(TOKEN)
    found = verify(
        plan(tmp_path, mode="memory").placement,
        tmp_path,
        url=f"grpcs://{group.envoy['grpcs']}",
        metrics_url="http://127.0.0.1:9",
        ssl_ca=group.ca,
        token_file=tmp_path / "token",
        max_trial_s=1,
        precision_pct=40,
    )
    assert [content.verdict.value for content in found.contents] == ["holds"]
    assert found.contents[0].models[0].served_infer_per_s > 0


@pytest.mark.parametrize("mode", ["none", "poll"])
def test_a_server_that_loads_nothing_on_request_is_measured_as_it_is(
    local_server: LocalServer, tmp_path: Path, mode: str
) -> None:
    """What is loaded is measured, an ensemble too; what needs a load is one line with the way out."""
    repository = tmp_path / "models"
    for name in ("theirs", "ours"):
        write_model(repository, name)
    write_model(repository, "broken", initialize="raise ValueError('no weights here')")
    write_ensemble(repository, "whole", ["theirs", "ours"])
    lenient = ("--exit-on-error=false", "--strict-readiness=false", "--repository-poll-secs=1")
    with triton(repository, *lenient, mode=mode) as owned, in_use(owned) as traffic:
        before = {name: config for name, config in state(owned.http).items() if name != "broken"}
        said = analyze(owned.http, tmp_path)
        for name in ("theirs", "ours", "whole"):
            assert f"{name} batch 1 concurrency 1: " in said
        for arguments, fact in (
            (("--model-names", "broken"), "broken"),
            (("--instances", "2"), "--instances"),
            (("--allow-reload",), "--allow-reload"),
        ):
            (line,) = analyze(owned.http, tmp_path, *arguments, code=1 if fact == "broken" else 2).splitlines()
            assert fact in line
            assert "does not load models on request" in line
            assert "--model-control-mode=explicit" in line
        after = state(owned.http)
        assert {name: after[name] for name in before} == before  # a poll may try `broken` again
    assert traffic.failed == []


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_several_servers_behind_one_address_are_refused_before_anything_changes(
    group: Group, tmp_path: Path, protocol: str
) -> None:
    """Two Tritons that take turns have other counts for the same model; one in use, or behind Envoy, is measured."""
    url = group.envoy[f"both {protocol}"]
    (line,) = analyze(f"grpc://{url}" if protocol == "grpc" else url, tmp_path, code=1).splitlines()
    assert "several Tritons answer at " in line
    assert "the counts of theirs version 1 rise and fall from one connection to the next" in line
    assert not (tmp_path / "out").exists()


def test_several_servers_without_requests_are_found_out(group: Group, tmp_path: Path) -> None:
    """Servers that nobody has used have equal counts: a load shows on one of them only, or requests tell them apart."""
    repository = group.folder / "models"
    with triton(repository) as one, triton(repository) as two:
        both = {"both": Listener("http", [one.http, two.http])}
        (tmp_path / "first").mkdir()
        with envoy(tmp_path / "first", both) as addresses:
            said = analyze(addresses["both"], tmp_path, "--model-names", "ours", code=1)
            assert "several Tritons answer at" in said
            assert "ours was loaded, and only some connections show it" in said
            assert [state(each.http) for each in (one, two)] == [{}, {}]
            for each in (one, two):
                assert ask(each.http, "POST", "/v2/repository/models/ours/load", {})[0] == 200
            said = analyze(addresses["both"], tmp_path, "--model-names", "ours", code=1)
            assert "the counts of ours version 1 rise and fall" in said
            assert "infer/s" not in said
