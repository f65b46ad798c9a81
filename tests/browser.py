"""A headless Chromium at the end of a pipe, by the DevTools protocol; needs no package."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

#: Chromium reads descriptor 3 and writes descriptor 4.
_LAUNCH = """
import os, sys
os.dup2(int(sys.argv[1]), 3), os.dup2(int(sys.argv[2]), 4)
os.execv(sys.argv[3], sys.argv[3:])
"""

_OPTIONS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"),
    *("--no-first-run", "--disable-dev-shm-usage", "--disable-background-networking"),
    *("--hide-scrollbars", "--force-device-scale-factor=1"),
)

#: Seconds for one answer: a page of several megabytes, on a machine that does other work.
PATIENCE = 120.0


def find() -> str | None:
    """The first Chromium on the path."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Tab:
    """One tab: commands, and the events that came meanwhile."""

    def __init__(self, to: int, back: int) -> None:
        self._to, self._back = to, back
        self._rest, self._number = b"", 0
        self._session: dict[str, str] = {}
        self.events: list[dict[str, Any]] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """The answer to one command."""
        self._number += 1
        call = {"id": self._number, "method": method, "params": params} | self._session
        content = json.dumps(call).encode() + b"\0"
        while content:
            content = content[os.write(self._to, content) :]
        while True:
            message = self._next(time.monotonic() + PATIENCE)
            if message.get("id") == self._number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']['message']}")
                return dict(message["result"])
            self.events.append(message)

    def _next(self, until: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._back], [], [], max(0.0, until - time.monotonic()))
            part = os.read(self._back, 1 << 20) if ready else b""
            if not part:
                raise TimeoutError("Chromium did not answer")
            self._rest += part
        line, self._rest = self._rest.split(b"\0", 1)
        return dict(json.loads(line))

    def open(self, path: Path, width: int, scheme: str = "light") -> None:
        """The file in a window of that width, loaded."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.send("Emulation.setDeviceMetricsOverride", **size)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.send("Emulation.setEmulatedMedia", features=[feature])
        self.events.clear()
        self.send("Page.navigate", url=path.resolve().as_uri())
        until = time.monotonic() + PATIENCE
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next(until))

    def run(self, script: str) -> Any:
        """The value of an expression, awaited."""
        params = {"expression": script, "returnByValue": True, "awaitPromise": True}
        answer = self.send("Runtime.evaluate", **params)
        if "exceptionDetails" in answer:
            raise RuntimeError(json.dumps(answer["exceptionDetails"])[:500])
        return answer["result"].get("value")

    def screenshot(self, path: Path) -> None:
        """What the window shows."""
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot")["data"]))


@contextlib.contextmanager
def chromium(program: str, profile: Path) -> Iterator[Tab]:
    """A running browser, closed at the end."""
    pipes = [os.pipe(), os.pipe()]
    # above 10, so that neither end is 3 or 4 already
    read, write = (fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (pipes[0][0], pipes[1][1]))
    command = [sys.executable, "-c", _LAUNCH, str(read), str(write)]
    command += [program, *_OPTIONS, f"--user-data-dir={profile}"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, pass_fds=(read, write), **quiet) as process:
        for fd in (read, write, pipes[0][0], pipes[1][1]):
            os.close(fd)
        try:
            yield Tab(pipes[0][1], pipes[1][0])
        finally:
            os.close(pipes[0][1])
            process.terminate()
            process.wait(PATIENCE)
            os.close(pipes[1][0])
