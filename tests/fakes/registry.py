"""A fake image registry with one small image: the part of the distribution API that a real engine needs to pull it."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"
LAYER_TYPE = "application/vnd.docker.image.rootfs.diff.tar.gzip"


def digest(content: bytes) -> str:
    """Return the digest by which registries name content."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def small_image() -> tuple[bytes, dict[str, bytes]]:
    """Make an image of one file; return its manifest, and its blobs by digest."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("empty"))
    layer = gzip.compress(archive.getvalue(), mtime=0)
    rootfs = {"type": "layers", "diff_ids": [digest(archive.getvalue())]}
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs}).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {"mediaType": CONFIG_TYPE, "size": len(config), "digest": digest(config)},
        "layers": [{"mediaType": LAYER_TYPE, "size": len(layer), "digest": digest(layer)}],
    }
    return json.dumps(manifest).encode(), {digest(config): config, digest(layer): layer}


@contextmanager
def serve_image(name: str) -> Iterator[tuple[str, str]]:
    """Serve the image; yield its full name, with this registry's address, and its manifest's digest."""
    manifest, blobs = small_image()

    class Registry(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _, _, what = self.path.rpartition("/")
            if self.path == "/v2/":
                self.answer(b"{}", "application/json")
            elif self.path.startswith(f"/v2/{name}/manifests/"):
                self.answer(manifest, MANIFEST_TYPE)
            elif what in blobs:
                self.answer(blobs[what], "application/octet-stream")
            else:
                self.send_error(404)

        do_HEAD = do_GET  # noqa: N815 - the server looks for this name

        def answer(self, body: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Docker-Content-Digest", digest(body))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Registry) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}/{name}:1", digest(manifest)
        finally:
            server.shutdown()
            thread.join()
