"""Test `plan import prometheus` on a real Prometheus: a back-filled week, TLS, and a real Triton that it scrapes."""

from __future__ import annotations

import math
import os
import subprocess
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from analyzer.measurements.csv_file import write_measurements_csv
from analyzer.servers.control import ControlClient
from analyzer.servers.local import Installation, LocalServer
from tests.builders.model_repositories import write_model
from tests.builders.profiles import measurement
from tests.builders.prometheus_api import Reply, prometheus_api
from tests.conftest import missing
from tests.live.analysis import plan
from tests.live.prometheus import prometheus
from tests.live.test_servers import ask

MONDAY = 1736121600  # 6 January 2025, 00:00 UTC; the week of history ends seven days later
HOUR, DAY, WEEK = 3600, 86400, 7 * 86400
END = ("--end", "2025-01-13T00:00Z")
SHORT = ("--window", "4s", "--rate-window", "2s", "--quantile", "0.5", "--budgets")
EVERY = 150  # seconds between two samples; two of them are one step of 5 min

Rate = Callable[[int], float]  # inferences/s at a time, in seconds since MONDAY


def daily(time_s: int) -> float:
    """Give 2/s by night, 10/s from 8 to 18, and 20/s from 12 to 13."""
    hour = time_s % DAY // HOUR
    return 20 if hour == 12 else 10 if 8 <= hour < 18 else 2


def counter(name: str, rate: Rate, *, begin: int = 0, gap: range = range(0), reset_at: int = -1) -> str:
    """Write a counter's samples; at `reset_at` of each day its server starts again, and it counts from 0."""
    lines, count = [], 0.0
    for at in range(begin, WEEK + 1, EVERY):
        if at > begin:
            count = (0.0 if at % DAY == reset_at else count) + rate(at - EVERY) * EVERY
        if at not in gap:
            lines.append(f"{name} {count:g} {MONDAY + at}\n")
    return "".join(lines)


def gauge(name: str, value: Rate) -> str:
    """Write a gauge's samples."""
    return "".join(f"{name} {value(at):g} {MONDAY + at}\n" for at in range(0, WEEK + 1, EVERY))


def triton(metric: str, model: str, version: int = 1, *, server: str = "a", **labels: str) -> str:
    """Name a series as Prometheus scrapes it from Triton."""
    also = "".join(f',{name}="{value}"' for name, value in labels.items())
    return f'{metric}{{job="triton",instance="{server}",model="{model}",version="{version}"{also}}}'


def week() -> str:
    """Write a week: a day shape with resets on two servers, two versions, a gap, a new and an idle model."""
    inferences, executions = "nv_inference_count", "nv_inference_exec_count"

    def half(at: int) -> float:
        return daily(at) / 2

    noon = 12 * HOUR
    return "".join(
        (
            counter(triton(inferences, "chest", server="a"), half, reset_at=noon),
            counter(triton(inferences, "chest", server="b"), half, reset_at=3 * HOUR),
            counter(triton(inferences, "liver", 1), lambda _: 5),
            counter(triton(inferences, "liver", 2), lambda _: 4, begin=4 * DAY),
            counter(triton(inferences, "gappy"), lambda _: 3, gap=range(2 * DAY + 1, 4 * DAY)),
            counter(triton(inferences, "fresh"), lambda _: 7, begin=6 * DAY),
            counter(triton(inferences, "idle"), lambda _: 0),
            counter(triton(executions, "chest", server="a"), lambda at: half(at) / 4, reset_at=noon),
            counter(triton(executions, "chest", server="b"), lambda at: half(at) / 4, reset_at=3 * HOUR),
            counter(triton("nv_inference_request_success", "liver"), lambda _: 5),
            counter(triton("nv_inference_request_duration_us", "liver"), lambda _: 5 * 8000),
            gauge(
                triton("nv_inference_request_summary_us", "chest", quantile="0.99"),
                lambda at: 40_000 if daily(at - 1) == 20 else 10_000,
            ),
            gauge('nv_gpu_memory_used_bytes{job="triton",gpu_uuid="GPU-1"}', lambda _: 3 * 2**30),
            gauge('DCGM_FI_DEV_FB_USED{UUID="GPU-1",GPU_I_ID="3"}', lambda _: 8192),
            gauge('DCGM_FI_DEV_FB_USED{UUID="GPU-2"}', lambda _: 999),  # of others
            gauge('DCGM_FI_PROF_GR_ENGINE_ACTIVE{UUID="GPU-1",GPU_I_ID="3"}', lambda _: 0.43),
            gauge('up{job="others"}', lambda _: 1),
        )
    )


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Serve the week for all tests of this file."""
    with prometheus(history=week()) as address:
        yield f"http://{address}"


def imported(url: str, *arguments: str | Path) -> tuple[dict[str, Any], str]:
    """Import the week; return each model's entry of the demand, and stderr."""
    done = plan("import", "prometheus", "--url", url, *END, "-o", "-", *arguments)
    return {one.pop("model"): one for one in tomllib.loads(done.stdout)["model"]}, done.stderr


def test_week_gives_the_rates_that_were_worked_out(url: str) -> None:
    """1/24 = 4.2 % of the week is at 20/s, so the 0.99 quantile is 20, the 0.95 one 10, and the median that of nights.

    Resets of each server change none of them; the versions of liver add up to 5 + 4; the idle one has no rate.
    """
    demand, said = imported(url)
    assert {name: entry.get("rate_infer_per_s") for name, entry in demand.items()} == {
        "chest": pytest.approx(20),
        "liver": pytest.approx(9),
        "gappy": pytest.approx(3),
        "fresh": pytest.approx(7),
        "idle": None,
    }
    # two days of seven without samples are 28.57 %, the new model has one day of seven
    assert "gaps, samples in only a part of the time since the first: gappy (71.4 %)" in said
    assert "new, so the window is not full: fresh (14.3 %)" in said
    assert "no rate above 0, so one copy without a rate: idle" in said
    for quantile, rate in (("0.95", 10), ("0.5", 2)):
        assert imported(url, "--quantile", quantile)[0]["chest"]["rate_infer_per_s"] == pytest.approx(rate)


def test_peak_hours_are_those_of_the_time_zone(url: str) -> None:
    """From 22 to 6 the rate is 2/s in UTC; in Tokyo, 9 hours ahead, these are 13 to 21 UTC, with 10/s."""
    assert imported(url, "--peak-hours", "22-6")[0]["chest"]["rate_infer_per_s"] == pytest.approx(2)
    tokyo = imported(url, "--peak-hours", "22-6", "--timezone", "Asia/Tokyo")[0]
    assert tokyo["chest"]["rate_infer_per_s"] == pytest.approx(10)


def test_every_hour_has_its_rate(url: str) -> None:
    """The rates by hour are the day shape: 2/s, 10/s from 8 to 18, and 20/s at 12."""
    chest = imported(url, "--rates-by-hour")[0]["chest"]
    assert chest == {"rates_by_hour_infer_per_s": [pytest.approx(daily(hour * HOUR)) for hour in range(24)]}


def test_batch_latency_and_gpus_are_in_the_file(url: str, tmp_path: Path) -> None:
    """Batches are of 4; the p99 is 40 ms in 4.2 % of the week, so that is its quantile; requests of liver take 8 ms."""
    file = tmp_path / "demand.toml"
    done = plan("import", "prometheus", "--url", url, *END, "-o", file)
    text = file.read_text()
    chest, liver = (text.partition(f'model = "{name}"')[2].partition("[[model]]")[0] for name in ("chest", "liver"))
    assert "# latency_p99_ms = 40  #" in chest
    assert "# mean batch 4.00" in chest
    assert "# versions, with the rate of each in inferences/s: 1 5.00, 2 4.00" in liver
    assert "# mean latency 8.00 ms" in liver
    assert "#   GPU-1/3    8192           43" in text
    assert "GPU-1/3    8192           43" in done.stdout
    assert "#   GPU-1      3072            -" in text
    assert "GPU-2" not in text
    again = plan("import", "prometheus", "--url", url, *END, "-o", "-")
    assert again.stdout == text  # the same window gives the same bytes


def test_demand_is_planned_with_the_profiles(url: str, tmp_path: Path) -> None:
    """Models that were never measured are listed and left out, so plan solve takes the demand with these profiles."""
    csv, file = tmp_path / "metrics-model.csv", tmp_path / "demand.toml"
    write_measurements_csv(csv, [measurement("chest"), measurement("liver")])
    done = plan("import", "prometheus", "--url", url, *END, "--growth", "1.2", "--profiles", csv, "-o", file)
    assert "running but not profiled: fresh, gappy, idle; measure them with analyze" in done.stderr
    solved = plan("solve", csv, "--demand", file, "--gpu-memory", "16GiB")
    assert solved.stdout.startswith("1 GPU: proven")
    write_measurements_csv(csv, [measurement("breast")])
    none = plan("import", "prometheus", "--url", url, *END, "--profiles", csv, code=1)
    assert "none of the running models is profiled" in none.stderr


def test_label_filters_are_prometheus_own(url: str) -> None:
    """Server a has half of chest's rate; an expression picks models; a wrong one is refused by Prometheus."""
    assert imported(url, "--label", "instance=a", "--label", "model=~ch.*")[0] == {
        "chest": {"rate_infer_per_s": pytest.approx(10)}
    }
    wrong = plan("import", "prometheus", "--url", url, *END, "--label", "model=~(", code=1)
    assert "does not answer the query (HTTP 400): 1:50: parse error: error parsing regexp" in wrong.stderr
    assert len(wrong.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--label", 'model="'), 'no series of nv_inference_count fits model=", of the 7 that'),
        (("--rate-window", "2m"), "never two within 2m: give a --rate-window of several scrape intervals"),
        (("--end", "2024-12-01T00:00Z"), "has no samples at all from 2024-11-24T00:00:00Z to 2024-12-01T00:00:00Z"),
    ],
)
def test_nothing_found_says_why(url: str, arguments: tuple[str, ...], said: str) -> None:
    """No series fits, samples are too far apart, the window is before the data: each is one line."""
    done = plan("import", "prometheus", "--url", url, *END, *arguments, code=1)
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_window_outside_the_peak_hours_says_so(url: str) -> None:
    """The last hour of the week is hour 23, and hours 8 to 18 have none of it."""
    done = plan("import", "prometheus", "--url", url, *END, "--window", "1h", "--peak-hours", "8-18", code=1)
    assert "but none in these hours; give other --peak-hours" in done.stderr


def test_prometheus_without_triton_says_what_was_looked_for() -> None:
    """It has samples, but none of Triton's."""
    with prometheus(history=gauge('up{job="others"}', lambda _: 1)) as address:
        done = plan("import", "prometheus", "--url", f"http://{address}", *END, code=1)
    assert "has no series of Triton" in done.stderr
    assert "(looked for nv_inference_count): let it scrape Triton's metrics, port 8002 by default" in done.stderr


def certificate(folder: Path) -> None:
    """Make a certificate for 127.0.0.1 that signs itself."""
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test"
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run([*command.split(), *names], cwd=folder, capture_output=True, check=True)


def test_tls_and_user_of_prometheus_itself(tmp_path: Path) -> None:
    """Prometheus' own TLS and users: a certificate of its own needs --ca-file; without the user access is refused."""
    certificate(tmp_path)
    web = {
        "tls_server_config": {"cert_file": f"{tmp_path}/cert.pem", "key_file": f"{tmp_path}/key.pem"},
        # the password is "test": the example of Prometheus' guide to basic authentication
        "basic_auth_users": {"admin": "$2b$12$hNf2lSsxfm0.i4a.1kVpSOVyBCfIB51VRjgBUyv6kdnyTlgWj81Ay"},
    }
    ca = ("--ca-file", tmp_path / "cert.pem")
    history = counter(triton("nv_inference_count", "chest"), daily)
    with prometheus(history=history, web=web) as address:
        done = plan("import", "prometheus", "--url", f"https://admin:test@{address}", *END, "-o", "-", *ca)
        assert tomllib.loads(done.stdout)["model"][0]["rate_infer_per_s"] == pytest.approx(20)
        assert "test" not in done.stdout
        for url, arguments, said in (
            (f"https://admin:test@{address}", (), "give the certificate of its authority with --ca-file"),
            (f"https://{address}", ca, "(HTTP 401): give --token-file or --token-env, or a user in --url"),
            (f"https://admin:wrong@{address}", ca, "(HTTP 401): what was given is not accepted"),
            (f"http://{address}", (), "(HTTP 400): Client sent an HTTP request to an HTTPS server."),
        ):
            failed = plan("import", "prometheus", "--url", url, *END, *arguments, code=1)
            assert said in failed.stderr
            assert len(failed.stderr.splitlines()) == 1


def test_token_is_read_from_a_file_or_the_environment(tmp_path: Path) -> None:
    """The server of this test alone checks the token; it never shows in what the command says."""
    token = "tok-4711"
    (tmp_path / "token").write_text(f"{token}\n")
    environment = {**os.environ, "PROMETHEUS_TOKEN": token, "EMPTY": ""}
    with prometheus_api(lambda asked: Reply(code=403)) as api:
        for source in (("--token-file", tmp_path / "token"), ("--token-env", "PROMETHEUS_TOKEN")):
            done = plan("import", "prometheus", "--url", api.url, *source, code=1, environment=environment)
            assert token not in done.stdout + done.stderr
        assert [one.headers["Authorization"] for one in api.asked] == [f"Bearer {token}"] * 2
        none = plan("import", "prometheus", "--url", api.url, "--token-env", "EMPTY", code=2, environment=environment)
    assert "--token-env EMPTY holds no token" in none.stderr


@pytest.fixture
def summaries(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Put a tritonserver on PATH that reports summaries of latencies, as the exported start scripts have it do."""
    found = Installation.find()
    if found is None:
        missing("no tritonserver here: pip install 'tritonpack[local]'")
    if found.package is None:
        program = f'exec {found.binary} --metrics-config=summary_latencies=true "$@"'
    else:
        from analyzer.servers.local import prepare_package

        environment = dict(os.environ)
        (tmp_path / "package").mkdir()
        flags = " ".join(prepare_package(found.package, tmp_path / "package", environment))
        libraries = f"export LD_LIBRARY_PATH={environment['LD_LIBRARY_PATH']} PATH={environment['PATH']}"
        program = f'{libraries}\nexec {found.binary} {flags} --metrics-config=summary_latencies=true "$@"'
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "tritonserver"
    script.write_text(f"#!/bin/sh\n{program}\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")


@pytest.mark.usefixtures("summaries")
def test_triton_under_load_is_imported(repository: Path, tmp_path: Path) -> None:
    """A Prometheus that scrapes a real Triton gives the rate of the requests that were sent, their batch and p99."""
    write_model(repository, "chest", execute="time.sleep(0.005)")
    write_model(repository, "liver")
    sent: list[float] = []
    stop = threading.Event()
    tensor = {"name": "X", "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 3, 4]}

    def load(address: str) -> None:
        while not stop.wait(0.02):
            assert ask(address, "POST", "/v2/models/chest/infer", {"inputs": [tensor]})[0] == 200
            sent.append(time.time())

    with LocalServer().serve(repository) as running:
        endpoint = running.endpoint
        assert endpoint.metrics_url is not None
        control = ControlClient(endpoint.http)
        control.load("chest")
        control.load("liver")
        target = endpoint.metrics_url.removeprefix("http://").removesuffix("/metrics")
        with prometheus(targets=[target], interval="250ms") as address:
            sender = threading.Thread(target=load, args=(endpoint.http,))
            sender.start()
            try:
                end = math.ceil(time.time() / 2) * 2 + 4  # two whole steps of 2 s
                time.sleep(end + 0.3 - time.time())
                moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(end))
                done = plan("import", "prometheus", "--url", f"http://{address}", "--end", moment, *SHORT, "-o", "-")
            finally:
                stop.set()
                sender.join()
    chest, liver = tomllib.loads(done.stdout)["model"]
    rates = sorted(2 * sum(end - 2 * k - 2 < at <= end - 2 * k for at in sent) / 2 for k in range(2))
    assert rates[0] > 10
    assert 0.8 * rates[0] <= chest["rate_infer_per_s"] <= 1.2 * rates[1]  # scrapes are 0.25 s apart, of 2 s
    assert "# mean batch 2.00" in done.stdout
    assert chest["latency_p99_ms"] >= 5  # each request sleeps for 5 ms
    assert liver == {"model": "liver"}
