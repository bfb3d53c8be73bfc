"""A real Chromium, driven through chromedriver by the WebDriver protocol (https://www.w3.org/TR/webdriver2/)."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import ProxyHandler, Request, build_opener

PROGRAMS = ("chromium", "chromedriver")  # of Debian's packages chromium and chromium-driver
# No sandbox: it needs rights that containers lack, and the pages are our own. No host name has an address.
ARGUMENTS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND",
]


class Browser:
    """One window."""

    def __init__(self, session: str) -> None:
        self._session = session

    def open(self, page: Path, fragment: str = "") -> None:
        """Load a page from its file, and return after its load event."""
        self.call("POST", "url", {"url": page.resolve().as_uri() + fragment})

    def run(self, script: str, *arguments: Any) -> Any:
        """Run JavaScript in the page, with its arguments as ``arguments``; return what it returns or resolves to."""
        return self.call("POST", "execute/sync", {"script": script, "args": list(arguments)})

    def wait(self, condition: str, *, timeout_s: float = 20.0) -> None:
        """Wait until a JavaScript expression is true."""
        deadline = time.monotonic() + timeout_s
        while not self.run(f"return Boolean({condition})"):
            assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {condition}; console: {self.console()}"
            time.sleep(0.05)

    def console(self) -> list[str]:
        """Return the warnings and errors of the console since the last call, those of the security policy too."""
        return [f"{line['level']}: {line['message']}" for line in self.call("POST", "se/log", {"type": "browser"})]

    def resize(self, width: int, height: int) -> None:
        """Set the size of the page's viewport, in CSS pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.devtools("Emulation.setDeviceMetricsOverride", **size)

    def prefer(self, scheme: str) -> None:
        """Ask pages for their light or dark style."""
        self.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def screenshot(self, path: Path) -> None:
        """Write a picture of what the window shows."""
        path.write_bytes(base64.b64decode(self.call("GET", "screenshot")))

    def devtools(self, method: str, **parameters: Any) -> Any:
        """Call a method of the DevTools protocol."""
        return self.call("POST", "goog/cdp/execute", {"cmd": method, "params": parameters})

    def call(self, method: str, command: str, body: dict[str, Any] | None = None) -> Any:
        """Send a command of the WebDriver protocol."""
        return _call(method, f"{self._session}/{command}", body)


@contextmanager
def browser(log: Path) -> Iterator[Browser]:
    """Yield a new browser; chromedriver's messages go to `log`."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    driver = subprocess.Popen(
        ["chromedriver", f"--port={port}", f"--log-path={log}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_until_ready(address)
        options = {"args": ARGUMENTS, "binary": shutil.which("chromium")}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "WARNING"}}
        made = _call("POST", f"{address}/session", {"capabilities": {"alwaysMatch": wanted}})
        session = f"{address}/session/{made['sessionId']}"
        try:
            yield Browser(session)
        finally:
            _call("DELETE", session)
    finally:
        driver.terminate()
        driver.wait(20)


def _wait_until_ready(address: str) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            if _call("GET", f"{address}/status")["ready"]:
                return
        except URLError:
            assert time.monotonic() < deadline, "chromedriver does not answer within 20 s"
        time.sleep(0.05)


def _call(method: str, url: str, body: dict[str, Any] | None = None) -> Any:
    """Send a command and return its value; a refusal is an AssertionError with the browser's message."""
    data = None if body is None else json.dumps(body).encode()
    request = Request(url, data, {"Content-Type": "application/json"}, method=method)  # noqa: S310 - it is a loopback
    try:
        with build_opener(ProxyHandler({})).open(request, timeout=120) as response:
            return json.load(response)["value"]
    except URLError as error:
        if not hasattr(error, "read"):
            raise
        raise AssertionError(json.loads(error.read())["value"]["message"]) from None
