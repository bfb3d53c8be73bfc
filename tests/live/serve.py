"""Serve a repository until the program is ended; test_servers.py ends it in several ways.

Usage: serve.py local|docker REPOSITORY [IMAGE]. Prints the server's process id and its HTTP address once it is ready.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from analyzer.servers import Server
from analyzer.servers.docker import DockerServer
from analyzer.servers.local import LocalServer

kind, repository, *image = sys.argv[1:]
server: Server = DockerServer(image[0]) if kind == "docker" else LocalServer()
with server.serve(Path(repository)) as running:
    print(running.endpoint.process_id, running.endpoint.http, flush=True)
    time.sleep(120)
