"""Export what Prometheus scrapes, and the alerts that say when reality leaves the plan.

The metrics are Triton's own (docs/user_guide/metrics.md of triton-inference-server/server). Its p99 needs
``--metrics-config summary_latencies=true``, which the exported start scripts give.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from planner.export.files import Export, ExportFile
from planner.export.serving import LOOPBACK, ServedModel, ServingPlan, TritonServer
from planner.export.settings import ExportSettings
from planner.export.yaml_text import yaml_text
from planner.inputs.prometheus.promql import promql_string

JOB = "triton"
_RATE = "tritonpack:model_inferences:rate5m"
_P99 = "tritonpack:model_p99_seconds:max"
_MEMORY = "tritonpack:server_memory_bytes:max"
_WAIT = "5m"  # how long a figure is out of plan before it alerts; a replica that is gone alerts sooner
_WAIT_FOR_REPLICA = "1m"


def export(plan: ServingPlan, settings: ExportSettings) -> Export:
    """Return prometheus.yml and rules.yml."""
    return Export(
        files=configuration(plan, plan.header("prometheus")),
        not_expressed=(*plan.not_expressed, *not_expressed(plan)),
        usage=(f"prometheus --config.file=prometheus.yml --web.listen-address={LOOPBACK}:{settings.prometheus_port}",),
    )


def configuration(plan: ServingPlan, header: str) -> tuple[ExportFile, ...]:
    """Return prometheus.yml and rules.yml, which are in one folder."""
    groups = [{"name": "tritonpack-recording", "rules": _recording()}, {"name": "tritonpack", "rules": _alerts(plan)}]
    return (
        ExportFile(path="prometheus.yml", text=yaml_text(header, scrape_config(plan.servers))),
        ExportFile(path="rules.yml", text=yaml_text(header, {"groups": groups})),
    )


def not_expressed(plan: ServingPlan) -> Iterable[str]:
    """Yield what of the plan no alert watches."""
    if any(server.slice for server in plan.servers):
        yield "Triton reports no memory of MIG slices, so there is no alert on theirs"
    unrated = [name for name, places in plan.by_model().items() if _rate(places) is None]
    if unrated:
        yield f"no rate is planned for {', '.join(unrated)}, so there is no alert on their demand"


def scrape_config(servers: Sequence[TritonServer]) -> dict[str, Any]:
    """Return a whole configuration that scrapes every server, with labels for its name, GPU and host."""
    static = [
        {
            "targets": [f"{_in_url(server.address)}:{server.metrics_port}"],
            "labels": {"server": server.name, "gpu": server.gpu, **({"node": server.host} if server.host else {})},
        }
        for server in servers
    ]
    return {
        "global": {"scrape_interval": "15s", "evaluation_interval": "15s"},
        "rule_files": ["rules.yml"],
        "scrape_configs": [{"job_name": JOB, "static_configs": static}],
    }


def _in_url(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _recording() -> list[dict[str, Any]]:
    return [
        {"record": _RATE, "expr": f'sum by (model) (rate(nv_inference_count{{job="{JOB}"}}[5m]))'},
        {
            "record": _P99,
            "expr": f'max by (model) (nv_inference_request_summary_us{{job="{JOB}",quantile="0.99"}}) / 1e6',
        },
        {"record": _MEMORY, "expr": f'max by (server, gpu) (nv_gpu_memory_used_bytes{{job="{JOB}"}})'},
    ]


def _alerts(plan: ServingPlan) -> list[dict[str, Any]]:
    budgets = {wanted.model: wanted.latency_p99_s for wanted in plan.placement.demand}
    rules = []
    for model, places in plan.by_model().items():
        labels = {"model": template_text(model)}
        quoted = promql_string(model)
        rate, budget = _rate(places), budgets.get(model)
        if rate is not None:
            rules.append(
                _alert(
                    "TritonDemandAbovePlan",
                    f"{_RATE}{{model={quoted}}} > {rate:.6g}",
                    labels,
                    f"{{{{ $value | humanize }}}} inferences/s are asked of it, and the plan is for {rate:.6g}.",
                )
            )
        if budget is not None:
            rules.append(
                _alert(
                    "TritonP99AboveBudget",
                    f"{_P99}{{model={quoted}}} > {budget:.6g}",
                    labels,
                    f"Its p99 on a server is {{{{ $value | humanizeDuration }}}}, its budget {budget * 1e3:.6g} ms.",
                )
            )
        # a server that is up lists every model that is loaded, also without requests
        there = f'count(count by (server) (nv_inference_count{{job="{JOB}",model={quoted}}}))'
        rules.append(
            _alert(
                "TritonReplicaMissing",
                f"({there} or vector(0)) < {len(places)}",
                labels,
                f"{{{{ $value }}}} of its {len(places)} servers have it loaded.",
                severity="critical",
                wait=_WAIT_FOR_REPLICA,
            )
        )
    rules += [
        _alert(
            "TritonMemoryAbovePlan",
            f"{_MEMORY}{{server={promql_string(server.name)}}} > {server.memory_bytes}",
            {},
            f"{{{{ $labels.server }}}} uses {{{{ $value | humanize1024 }}}}B, and the plan is for "
            f"{server.memory_bytes / 2**20:,.0f} MiB.",
        )
        for server in plan.servers
        if server.slice is None
    ]
    return rules


def _rate(places: Sequence[tuple[TritonServer, ServedModel]]) -> float | None:
    rates = [served.rate_infer_per_s for _, served in places]
    return None if None in rates else sum(rate for rate in rates if rate is not None)


def _alert(
    name: str, expression: str, labels: dict[str, str], text: str, *, severity: str = "warning", wait: str = _WAIT
) -> dict[str, Any]:
    return {
        "alert": name,
        "expr": expression,
        "for": wait,
        "labels": {"severity": severity, **labels},
        "annotations": {"summary": text},
    }


def template_text(text: str) -> str:
    """Return a text that Prometheus' templates, which expand labels of alerts, leave as it is."""
    return text.replace("{{", '{{ "{{" }}')
