"""Test the export for Prometheus with promtool: it checks the files, and runs the alerts on made series."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from planner.export.files import write_export
from planner.export.inventory import RealGpu
from planner.export.place_servers import serving_plan
from planner.export.prometheus import export, template_text
from planner.export.settings import ExportSettings
from planner.inputs.prometheus.promql import promql_string
from planner.placement.document import Placement
from tests.builders.hostile_names import HOSTILE
from tests.builders.placements import gpu, model, placement
from tests.conftest import missing
from tests.planner.export.test_mig_parted import cut


def promtool(*arguments: str, folder: Path) -> str:
    """Run promtool in a folder and return what it prints; it must succeed."""
    if shutil.which("promtool") is None:
        missing("no promtool here: apt-get install prometheus")
    done = subprocess.run(["promtool", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def write(plan: Placement, folder: Path) -> dict[str, Any]:
    """Write the export of a placement and return the rules, after promtool has checked both files."""
    write_export(export(serving_plan(plan), ExportSettings(to="prometheus", output=folder)), folder)
    assert "SUCCESS" in promtool("check", "config", "prometheus.yml", folder=folder)
    rules: dict[str, Any] = yaml.safe_load((folder / "rules.yml").read_text())
    return rules


def demanded(name: str) -> Placement:
    """Return a plan of a model for 30 inferences/s within 50 ms, two thirds of it on one GPU, a third on another."""
    places = [gpu(0, model(name, 500, rate_infer_per_s=20)), gpu(1, model(name, 500, rate_infer_per_s=10))]
    return placement(*places, demand=[{"model": name, "rate_infer_per_s": 30, "latency_p99_ms": 50}])


def alerts(folder: Path, series: dict[str, str], expected: dict[str, list[dict[str, Any]]], at: str = "10m") -> None:
    """Run the rules on series; exactly the expected alerts are on at this time."""
    test = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": "15s",
        "tests": [
            {
                "interval": "15s",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "alert_rule_test": [
                    {"eval_time": at, "alertname": name, "exp_alerts": expected.get(name, [])}
                    for name in (
                        "TritonDemandAbovePlan",
                        "TritonP99AboveBudget",
                        "TritonReplicaMissing",
                        "TritonMemoryAbovePlan",
                    )
                ],
            }
        ],
    }
    (folder / "test.yml").write_text(yaml.safe_dump(test))
    promtool("test", "rules", "test.yml", folder=folder)


def series(
    *, rate: int = 7, p99_us: int = 40_000, memory_mib: int = 700, servers: tuple[int, ...] = (0, 1)
) -> dict[str, str]:
    """Make what two servers report: inferences in each 15 s, p99 and memory."""
    found = {}
    for k in servers:
        labels = f'job="triton",server="gpu-{k}",gpu="gpu-{k}"'
        found[f'nv_inference_count{{{labels},model="m",version="1"}}'] = f"0+{rate * 15}x60"
        found[f'nv_inference_request_summary_us{{{labels},model="m",version="1",quantile="0.99"}}'] = f"{p99_us}x60"
        found[f"nv_gpu_memory_used_bytes{{{labels}}}"] = f"{memory_mib * 2**20}x60"
    return found


def one(text: str, severity: str = "warning", **labels: str) -> list[dict[str, Any]]:
    """Make the one alert that is expected."""
    return [{"exp_labels": {"severity": severity, **labels}, "exp_annotations": {"summary": text}}]


def test_no_alert_while_all_is_as_planned(tmp_path: Path) -> None:
    """14 of 30 inferences/s, a p99 of 40 of 50 ms and 700 of 809 MiB alert nobody."""
    write(demanded("m"), tmp_path)
    alerts(tmp_path, series(), {})


def test_each_departure_from_the_plan_has_its_alert(tmp_path: Path) -> None:
    """40 inferences/s of 30, 60 ms of 50, and 900 MiB of 809 alert, with the figures in the text."""
    write(demanded("m"), tmp_path)
    expected = {
        "TritonDemandAbovePlan": one("40 inferences/s are asked of it, and the plan is for 30.", model="m"),
        "TritonP99AboveBudget": one("Its p99 on a server is 60ms, its budget 50 ms.", model="m"),
        "TritonMemoryAbovePlan": [
            alert
            for k in (0, 1)
            for alert in one(f"gpu-{k} uses 900MiB, and the plan is for 809 MiB.", server=f"gpu-{k}", gpu=f"gpu-{k}")
        ],
    }
    alerts(tmp_path, series(rate=20, p99_us=60_000, memory_mib=900), expected)


def test_a_replica_that_is_gone_alerts_also_if_it_is_the_last(tmp_path: Path) -> None:
    """One of two servers without the model, and none with it, are alerts with the number that is left."""
    write(demanded("m"), tmp_path)
    for servers, left in (((0,), 1), ((), 0)):
        text = f"{left} of its 2 servers have it loaded."
        alerts(tmp_path, series(servers=servers), {"TritonReplicaMissing": one(text, "critical", model="m")})


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_names(tmp_path: Path, name: str) -> None:
    """promtool reads the rules of a model with a hostile name, and the alert has that name."""
    rules = write(demanded(name), tmp_path)
    assert {alert["labels"].get("model") for alert in rules["groups"][1]["rules"]} == {template_text(name), None}
    labels = f'job="triton",server="gpu-0",gpu="gpu-0",model={promql_string(name)}'
    text = "1 of its 2 servers have it loaded."
    alerts(
        tmp_path,
        {f"nv_inference_count{{{labels}}}": "0+1x60"},
        {"TritonReplicaMissing": one(text, "critical", model=name)},
    )


def test_an_ipv6_address_is_a_target(tmp_path: Path) -> None:
    """The address is in brackets, so that promtool and Prometheus read its port."""
    inventory = (RealGpu(type="T4", node="a", address="fd00::7"),)
    plan = serving_plan(placement(gpu(0, model("m", 500))), inventory=inventory)
    write_export(export(plan, ExportSettings(to="prometheus", output=tmp_path)), tmp_path)
    assert "[fd00::7]:8002" in (tmp_path / "prometheus.yml").read_text()
    promtool("check", "config", "prometheus.yml", folder=tmp_path)


def test_every_server_is_scraped_with_its_place(tmp_path: Path) -> None:
    """Each server is a target at its metrics port, labelled with its name and GPU; slices have no alert on memory."""
    plan = serving_plan(placement(cut(0, ("3g.20gb", 0), ("3g.20gb", 4))))
    found = export(plan, ExportSettings(to="prometheus", output=tmp_path))
    config = yaml.safe_load(found.files[0].text)
    assert config["scrape_configs"][0]["static_configs"] == [
        {"targets": [f"127.0.0.1:80{k}2"], "labels": {"server": f"gpu-0-3g-20gb-{4 * k}", "gpu": "gpu-0"}}
        for k in (0, 1)
    ]
    assert "MemoryAbovePlan" not in found.files[1].text
    assert any("no memory of MIG slices" in fact for fact in found.not_expressed)
