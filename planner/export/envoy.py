"""Target `envoy`: one address for HTTP and one for gRPC, which send each request to a server of its model.     [pure]

Over HTTP the path names the model; over gRPC the message does, from which a Lua filter copies it to a header.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from math import gcd
from typing import Any
from urllib.parse import quote

from analyzer.errors import UsageError
from planner.export.envoy_lua import MODEL_HEADER, NAME_TO_HEADER
from planner.export.files import Export, ExportFile
from planner.export.names import dns_label, is_plain_in_path, unique
from planner.export.serving import LOOPBACK, ServedModel, ServingPlan, TritonServer
from planner.export.settings import ExportSettings
from planner.export.yaml_text import yaml_text

WINDOW_BYTES = 64 * 2**20  # largest gRPC request, since Envoy holds it whole to read the model's name
_WEIGHTS = 1000  # of the server with the largest share
_LIMITS = ("max_connections", "max_pending_requests", "max_requests", "max_retries")
_MANY = 1_000_000  # Envoy's own limit of 1024 requests would refuse what Triton can queue
_SERVICE = "/inference.GRPCInferenceService/"
_SERVER_PATHS = ("/v2", "/v2/", "/v2/health/live", "/v2/health/ready", "/v2/repository/index")
_SERVER_METHODS = ("ServerLive", "ServerReady", "ServerMetadata", "RepositoryIndex")
_HEALTH_SERVICE = "/grpc.health.v1.Health/"
_HTTP = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_LUA = "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua"
_ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
_UPSTREAM = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_HTTP2 = {"initial_stream_window_size": WINDOW_BYTES, "initial_connection_window_size": WINDOW_BYTES}
# A request is sent again only where no server has begun it: it could not connect, or the server refused it.
_RETRY_ON = {
    "http": "connect-failure,refused-stream,retriable-status-codes",
    "grpc": "connect-failure,refused-stream,unavailable,retriable-headers",
}
_Placed = Sequence[tuple[TritonServer, ServedModel]]


def export(plan: ServingPlan, settings: ExportSettings) -> Export:
    """Return Envoy's configuration.

    Raises
    ------
    UsageError
        If two of Envoy's ports are one, or a Triton beside it has one of them.
    """
    document = configuration(plan, settings)
    return Export(
        files=(ExportFile(path="envoy.yaml", text=yaml_text(plan.header("envoy"), document)),),
        not_expressed=(*plan.not_expressed, *not_expressed(plan)),
        usage=("envoy -c envoy.yaml",),
    )


def configuration(plan: ServingPlan, settings: ExportSettings) -> dict[str, Any]:
    """Return the whole configuration; for its errors see `export`."""
    own_ports = ports(plan, settings)
    by_model = plan.by_model()
    labels = unique(by_model, dns_label)
    every = [(server, 1) for server in plan.servers]
    clusters = []
    for protocol in ("http", "grpc"):
        for name, placed in by_model.items():
            ready = f"/v2/models/{name}/ready" if is_plain_in_path(name) else "/v2/health/ready"
            clusters.append(_cluster(f"model-{labels[name]}-{protocol}", protocol, _weighted(placed), ready))
        clusters.append(_cluster(f"servers-{protocol}", protocol, every, "/v2/health/ready"))
    listeners = [
        _listener("http", settings.envoy_address, own_ports["http"], _http_routes(labels), []),
        _listener("grpc", settings.envoy_address, own_ports["grpc"], _grpc_routes(labels), [_lua()]),
    ]
    return {
        "admin": {"address": _address(LOOPBACK, own_ports["admin"])},
        "static_resources": {"listeners": listeners, "clusters": clusters},
    }


def ports(plan: ServingPlan, settings: ExportSettings) -> dict[str, int]:
    """Return the ports of HTTP, gRPC and administration, the next free one after that of gRPC.

    Raises
    ------
    UsageError
        If two of them are one, or a Triton beside Envoy has one of them.
    """
    http, grpc = settings.envoy_http_port, settings.envoy_grpc_port
    if http == grpc:
        raise UsageError(f"HTTP and gRPC cannot share port {http}: choose another `envoy_http_port`")
    taken = {
        port: server.name
        for server in plan.servers
        if server.address == LOOPBACK
        for port in (server.http_port, server.grpc_port, server.metrics_port)
    }
    for port, option in ((http, "envoy_http_port"), (grpc, "envoy_grpc_port")):
        if port in taken:
            raise UsageError(f"port {port} is that of {taken[port]}: choose another `{option}` or `first_port`")
    after = (*range(grpc + 1, 65536), *range(grpc - 1, 0, -1))
    return {"http": http, "grpc": grpc, "admin": next(port for port in after if port != http and port not in taken)}


def _weighted(placed: _Placed) -> list[tuple[TritonServer, int]]:
    """Return the servers of a model with whole weights in proportion to the planned shares."""
    most = max(model.share for _, model in placed)
    weights = [max(1, round(_WEIGHTS * model.share / most)) for _, model in placed]
    return [(server, weight // gcd(*weights)) for (server, _), weight in zip(placed, weights, strict=True)]


def _cluster(name: str, protocol: str, servers: Sequence[tuple[TritonServer, int]], ready: str) -> dict[str, Any]:
    addresses = all(_is_ip(server.address) for server, _ in servers)
    http = {"http2_protocol_options": _HTTP2} if protocol == "grpc" else {"http_protocol_options": {}}
    return {
        "name": name,
        "type": "STATIC" if addresses else "STRICT_DNS",
        "connect_timeout": "2s",
        "lb_policy": "ROUND_ROBIN",
        # where no server is healthy, any of them is tried
        "common_lb_config": {"healthy_panic_threshold": {"value": 1}},
        "typed_extension_protocol_options": {
            _UPSTREAM: {"@type": f"type.googleapis.com/{_UPSTREAM}", "explicit_http_config": http}
        },
        "circuit_breakers": {"thresholds": [dict.fromkeys(_LIMITS, _MANY)]},
        "health_checks": [
            {
                "timeout": "2s",
                "interval": "1s",
                "no_traffic_interval": "1s",
                "unhealthy_threshold": 2,
                "healthy_threshold": 1,
                # a Triton that is ending answers on old connections for as long as there are any, and takes no new ones
                "reuse_connection": False,
                "http_health_check": {"path": ready},
            }
        ],
        # only connections that fail count: a model's own errors are answers
        "outlier_detection": {
            "split_external_local_origin_errors": True,
            "consecutive_local_origin_failure": 3,
            "enforcing_consecutive_5xx": 0,
            "enforcing_success_rate": 0,
            "enforcing_local_origin_success_rate": 0,
            "interval": "1s",
            "base_ejection_time": "5s",
            "max_ejection_percent": 50,
        },
        # a host that is gone without a word is noticed within a minute also by requests under way
        "upstream_connection_options": {
            "tcp_keepalive": {"keepalive_time": 30, "keepalive_interval": 10, "keepalive_probes": 3}
        },
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [_endpoint(protocol, server, weight) for server, weight in servers]}],
        },
    }


def _endpoint(protocol: str, server: TritonServer, weight: int) -> dict[str, Any]:
    port = server.http_port if protocol == "http" else server.grpc_port
    endpoint: dict[str, Any] = {"address": _address(server.address, port)}
    if protocol == "grpc":
        endpoint["health_check_config"] = {"port_value": server.http_port}
    return {"endpoint": endpoint, "load_balancing_weight": weight}


def _address(address: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": address, "port_value": port}}


def _is_ip(address: str) -> bool:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True


def _listener(
    protocol: str, address: str, port: int, routes: list[dict[str, Any]], filters: list[dict[str, Any]]
) -> dict[str, Any]:
    router = {"name": "envoy.filters.http.router", "typed_config": {"@type": _ROUTER, "suppress_envoy_headers": True}}
    retry: dict[str, Any] = {
        "retry_on": _RETRY_ON[protocol],
        "num_retries": 3,
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
                },
            }
        ],
        "host_selection_retry_max_attempts": 5,
    }
    if protocol == "http":
        retry["retriable_status_codes"] = [503]  # Triton's for a model that is not ready, and for a full queue
    else:  # NOT_FOUND: a Triton that is ending unloads its models before it stops taking gRPC
        retry["retriable_headers"] = [{"name": "grpc-status", "string_match": {"exact": "5"}}]
    manager = {
        "@type": _HTTP,
        "stat_prefix": protocol,
        "generate_request_id": False,
        "server_header_transformation": "PASS_THROUGH",
        "stream_idle_timeout": "0s",  # an inference may take long
        "http2_protocol_options": _HTTP2,
        "route_config": {
            "name": protocol,
            "virtual_hosts": [{"name": protocol, "domains": ["*"], "retry_policy": retry, "routes": routes}],
        },
        "http_filters": [*filters, router],
    }
    return {
        "name": protocol,
        "address": _address(address, port),
        "per_connection_buffer_limit_bytes": WINDOW_BYTES,  # of a request that may have to be sent again
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }


def _lua() -> dict[str, Any]:
    source = {"inline_string": NAME_TO_HEADER}
    return {"name": "envoy.filters.http.lua", "typed_config": {"@type": _LUA, "default_source_code": source}}


def _http_routes(labels: Mapping[str, str]) -> list[dict[str, Any]]:
    settings = {"safe_regex": {"regex": "/v2/models/.*/trace/setting"}}  # which changes one server
    routes = [{**_refusal('{"error": "settings are not routed"}'), "match": settings}]
    routes += [
        _route({"path_separated_prefix": f"/v2/models/{spelling}"}, f"model-{label}-http")
        for name, label in labels.items()
        for spelling in _spellings(name)
    ]
    routes += [_route({"path": path}, "servers-http") for path in _SERVER_PATHS]
    return [*routes, _refusal('{"error": "the plan has no such model, or this path is not routed"}')]


def _grpc_routes(labels: Mapping[str, str]) -> list[dict[str, Any]]:
    routes = [
        _route(
            {
                "prefix": f"{_SERVICE}Model",
                "headers": [{"name": MODEL_HEADER, "string_match": {"exact": quote(name, safe="")}}],
            },
            f"model-{label}-grpc",
        )
        for name, label in labels.items()
    ]
    routes += [_route({"path": _SERVICE + method}, "servers-grpc") for method in _SERVER_METHODS]
    routes.append(_route({"prefix": _HEALTH_SERVICE}, "servers-grpc"))
    why = "the plan has no such model, this method is not routed, or a stream or compressed request lacks the header "
    return [*routes, _refusal(why + MODEL_HEADER)]


def _route(match: dict[str, Any], cluster: str) -> dict[str, Any]:
    return {"match": match, "route": {"cluster": cluster, "timeout": "0s"}}


def _refusal(why: str) -> dict[str, Any]:
    """Return the route of everything else; Envoy says 404 as UNIMPLEMENTED to gRPC clients."""
    return {"match": {"prefix": "/"}, "direct_response": {"status": 404, "body": {"inline_string": why}}}


def _spellings(name: str) -> tuple[str, ...]:
    """Return how clients write a name in a path: encoded by Python, by JavaScript, or not at all where that can be."""
    found = [quote(name, safe=""), quote(name, safe="!'()*")]
    if name.isascii() and name.isprintable() and not set(name) & set(" %?#/"):
        found.append(name)
    return tuple(dict.fromkeys(found))


def not_expressed(plan: ServingPlan) -> Iterable[str]:
    """Yield what of the plan the configuration cannot say."""
    for name, placed in plan.by_model().items():
        source = plan.repository.get(placed[0][1].source)
        if not is_plain_in_path(name):
            yield f"{name!r} has characters that Triton 24.10 does not decode in a path: clients call it over gRPC"
        if source is not None and source.decoupled:
            yield f"{name} is decoupled, and a stream is not read for its model: clients send the header {MODEL_HEADER}"
        if source is not None and source.sequence and len(placed) > 1:
            yield f"{name} keeps state across requests, and requests of one sequence may reach any of its servers"
