"""The texts of shell scripts and systemd units that start Triton.                                             [pure]"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from planner.export.names import is_plain_in_path
from planner.export.serving import LOOPBACK, TritonServer, model_arguments

START = "start.sh"
GRACE_S = 30  # between SIGTERM and SIGKILL
DRAIN_S = 10  # of these, that Triton waits for requests under way and for idle connections to close
READY_TIMEOUT_S = 300  # large models load for minutes

_SERVER_HEAD = f"""\
# Serve the models of {{name}} in the foreground; end with the exit status of tritonserver. SIGTERM or SIGINT ends it.
#   ADDRESS          where it listens (default {LOOPBACK})
#   TRITONSERVER     program to run in place of the tritonserver on PATH
#   READY_TIMEOUT_S  seconds until the models must be ready (default {READY_TIMEOUT_S})
#   GRACE_S          seconds between SIGTERM and SIGKILL (default {GRACE_S})
# Arguments are passed on to tritonserver.
set -euo pipefail
set -m # a process group of its own: Ctrl-C reaches this script only, which then ends the server
cd -- "$(dirname -- "${{{{BASH_SOURCE[0]}}}}")"
"""

# Defines a function of the shell; it reads $own_address and $http_port.
ANSWERS = """\
# Say whether a GET of this path is answered with status 200.
answers() {
  (
    exec 3<>"/dev/tcp/$own_address/$http_port" || exit 1
    printf 'GET %s HTTP/1.0\\r\\n\\r\\n' "$1" >&3
    IFS= read -r -t 5 line <&3 || exit 1
    [[ $line == HTTP/1.?' 200 '* ]]
  ) 2>/dev/null
}
"""

_SERVER_BODY = f"""\
address=${{ADDRESS:-{LOOPBACK}}}
ready_timeout_s=${{READY_TIMEOUT_S:-{READY_TIMEOUT_S}}}
grace_s=${{GRACE_S:-{GRACE_S}}}
case $address in # where this script asks
  0.0.0.0) own_address=127.0.0.1 ;;
  ::) own_address=::1 ;;
  *) own_address=$address ;;
esac

say() {{ printf '%s: %s\\n' "$name" "$1" >&2; }}

listens() {{ (exec 3<>"/dev/tcp/$own_address/$1") 2>/dev/null; }}

{ANSWERS}
is_ready() {{
  local path
  for path in /v2/health/ready "${{ready[@]}}"; do
    answers "$path" || return 1
  done
}}

running() {{ kill -0 "$!" 2>/dev/null; }} # $! is the server: nothing else is started in the background

# End the server; after the grace time kill it with its children.
stop() {{
  local tenths
  [[ -n ${{!:-}} ]] || return 0
  kill -TERM "$!" 2>/dev/null || true
  for ((tenths = 10 * grace_s; tenths > 0; tenths--)); do
    running || return 0
    sleep 0.1
  done
  say "does not end within $grace_s s and is killed"
  kill -KILL -- "-$!" 2>/dev/null || true
}}

# shellcheck disable=SC2317 # called by the trap
end() {{
  trap '' TERM INT
  stop
  local status=0
  [[ -z ${{!:-}} ]] || wait "$!" || status=$?
  exit "$status"
}}

for port in "$http_port" "$grpc_port" "$metrics_port"; do
  if listens "$port"; then
    say "port $port of $own_address is in use"
    exit 1
  fi
done

arguments+=(
  --model-repository="$PWD/models"
  --http-address="$address" --grpc-address="$address" --metrics-address="$address"
)

trap end TERM INT
"${{TRITONSERVER:-tritonserver}}" "${{arguments[@]}}" "$@" </dev/null &
until is_ready; do
  running || break
  if ((SECONDS >= ready_timeout_s)); then
    say "is not ready after $ready_timeout_s s"
    stop
    exit 1
  fi
  sleep 0.2
done
if running; then
  say "ready: HTTP $address:$http_port, gRPC $address:$grpc_port, metrics $address:$metrics_port"
fi
status=0
wait "$!" || status=$?
say "tritonserver ended with status $status"
exit "$status"
"""

_ALL_HEAD = """\
# Start all Tritons of this host in the foreground, and end all of them on SIGTERM or SIGINT. One that ends leaves the
# others running. Environment variables and arguments are those of the scripts that it starts.
set -euo pipefail
set -m # process groups of their own: Ctrl-C reaches this script only, which then ends the servers
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"
"""

_ALL_BODY = f"""\
# Wait for all, and return the status of one that failed.
wait_for_all() {{
  local status=0 process
  for process in "${{processes[@]}}"; do
    wait "$process" || status=$?
  done
  return "$status"
}}

end() {{
  trap '' TERM INT
  mapfile -t processes < <(jobs -p)
  for process in "${{processes[@]}}"; do
    kill -TERM "$process" 2>/dev/null || true
  done
  local status=0
  wait_for_all || status=$?
  exit "$status"
}}

trap end TERM INT
processes=()
for server in "${{servers[@]}}"; do
  "./$server/{START}" "$@" &
  processes+=("$!")
done
wait_for_all
"""


def arguments(server: TritonServer) -> list[str]:
    """Return the arguments of tritonserver but those that say where the repository is and which address it takes."""
    return [
        *model_arguments(server),
        f"--http-port={server.http_port}",
        f"--grpc-port={server.grpc_port}",
        f"--metrics-port={server.metrics_port}",
        f"--exit-timeout-secs={DRAIN_S}",
    ]


def ready_paths(server: TritonServer) -> list[str]:
    """Return the paths that are answered with 200 once the models are ready, as far as they can be asked for."""
    return [f"/v2/models/{model.name}/ready" for model in server.models if is_plain_in_path(model.name)]


def start_script(header: str, server: TritonServer, *, visible: str | None) -> str:
    """Return the script that starts one Triton, in the folder above its ``models``.

    Parameters
    ----------
    visible : str or None
        What CUDA_VISIBLE_DEVICES is; with None it must be in the environment.
    """
    gpu = (
        f"export CUDA_VISIBLE_DEVICES={shlex.quote(visible)}\n"
        if visible is not None
        else 'export CUDA_VISIBLE_DEVICES="${CUDA_VISIBLE_DEVICES:?set it to the UUID of the MIG slice}"\n'
    )
    values = (
        f"\nname={shlex.quote(server.name)}\n"
        f"http_port={server.http_port}\n"
        f"grpc_port={server.grpc_port}\n"
        f"metrics_port={server.metrics_port}\n"
        f"arguments={_array(arguments(server))}\n"
        f"ready={_array(ready_paths(server))}\n"
        "export CUDA_DEVICE_ORDER=PCI_BUS_ID # numbers as nvidia-smi's\n"
    )
    head = _SERVER_HEAD.format(name=server.name)
    return f"#!/usr/bin/env bash\n{header}{head}{values}{gpu}\n{_SERVER_BODY}"


def start_all_script(header: str, servers: Sequence[str]) -> str:
    """Return the script that starts all Tritons of a host, in the folder above theirs."""
    return f"#!/usr/bin/env bash\n{header}{_ALL_HEAD}\nservers={_array(servers)}\n\n{_ALL_BODY}"


def _array(words: Sequence[str]) -> str:
    return f"({' '.join(map(shlex.quote, words))})"


def systemd_unit(header: str, server: TritonServer, folder: str) -> str:
    """Return the unit of a Triton whose script is in this folder, an absolute path."""
    directory = folder.replace("%", "%%")  # % begins a specifier
    return f"""\
{header}[Unit]
Description=Triton {server.name}
After=network.target

[Service]
Type=exec
WorkingDirectory={directory}
ExecStart=/usr/bin/env bash {START}
Restart=on-failure
RestartSec=2
KillMode=mixed
TimeoutStopSec={GRACE_S + 5}

[Install]
WantedBy=multi-user.target
"""
