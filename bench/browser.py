"""Debian's headless chromium, driven over its own protocol: for tests and measurements of pages.

Messages go through a pipe (``--remote-debugging-pipe``), so neither a port nor a library is needed.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser")
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
    "--disable-component-update", "--disable-sync", "--disable-extensions", "--hide-scrollbars",
    "--remote-debugging-pipe",
)  # fmt: skip

# Keys that the browser itself acts on, it knows by number.
CODES = {"Enter": 13, "Escape": 27, "ArrowLeft": 37, "ArrowRight": 39}


class BrowserError(RuntimeError):
    """The browser said no, or nothing."""


class Tab:
    """One tab.

    Attributes
    ----------
    said : list of str
        Errors and warnings of the console, exceptions nobody caught, and what a policy refused.
    requests : list of str
        Addresses the page asked for.
    """

    def __init__(self, write: int, read: int, patience_s: float) -> None:
        self._write, self._read = write, read
        self._patience_s = patience_s
        self._left = b""
        self._number = 0
        self._session: str | None = None
        self._loaded = False
        self.said: list[str] = []
        self.requests: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol and wait for its result.

        Raises
        ------
        BrowserError
            If the browser refuses, or says nothing in time.
        """
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        content = json.dumps(message).encode() + b"\0"
        while content:
            content = content[os.write(self._write, content) :]
        while True:
            answer = self._next(method)
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error']['message']}")
                result: dict[str, Any] = answer["result"]
                return result
            self._note(answer)

    def open(self, address: str) -> None:
        """Open an address and wait until it is loaded.

        Raises
        ------
        BrowserError
            If it cannot be opened.
        """
        self._loaded = False
        failed = self.call("Page.navigate", url=address).get("errorText")
        if failed:
            raise BrowserError(f"{address}: {failed}")
        while not self._loaded:
            self._note(self._next("the page"))

    def run(self, script: str) -> Any:
        """The value of an expression in the page (promises are waited for).

        Raises
        ------
        BrowserError
            If it throws.
        """
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise BrowserError(_exception(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """Press a key where the focus is."""
        fields: dict[str, Any] = {"key": key, "windowsVirtualKeyCode": CODES.get(key, 0)}
        text = key if len(key) == 1 else {"Enter": "\r"}.get(key, "")
        self.call("Input.dispatchKeyEvent", type="keyDown", **fields, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **fields)

    def point(self, x: float, y: float, *, click: bool = False) -> None:
        """Move the mouse to a place in the window, and click there."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        if click:
            for kind in ("mousePressed", "mouseReleased"):
                self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def size(self, width: int, height: int) -> None:
        """Make the window this large."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def picture(self, path: Path, *, whole: bool = False) -> Path:
        """A screenshot (PNG) of the window, or of the whole page."""
        taken = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(taken["data"]))
        return path

    def _next(self, what: str) -> dict[str, Any]:
        end = time.monotonic() + self._patience_s
        while b"\0" not in self._left:
            ready, _, _ = select.select([self._read], [], [], max(0.0, end - time.monotonic()))
            part = os.read(self._read, 2**16) if ready else b""
            if not part:
                raise BrowserError(f"{what}: the browser said nothing for {self._patience_s:.0f} s")
            self._left += part
        message, _, self._left = self._left.partition(b"\0")
        answer: dict[str, Any] = json.loads(message)
        return answer

    def _note(self, event: dict[str, Any]) -> None:
        method, fields = event.get("method"), event.get("params", {})
        if method == "Page.loadEventFired":
            self._loaded = True
        elif method == "Runtime.exceptionThrown":
            self.said.append(_exception(fields["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and fields["type"] in ("error", "warning", "assert"):
            self.said.append(" ".join(str(each.get("value", each)) for each in fields["args"]))
        elif method == "Log.entryAdded" and fields["entry"]["level"] in ("error", "warning"):
            self.said.append(f"{fields['entry']['text']} {fields['entry'].get('url', '')}".strip())
        elif method == "Network.requestWillBeSent":
            self.requests.append(fields["request"]["url"])


def _exception(details: dict[str, Any]) -> str:
    return str(details.get("exception", {}).get("description") or details.get("text"))


@contextmanager
def browser(profile: Path, patience_s: float = 120.0) -> Iterator[Tab]:
    """Start chromium with its profile in a folder, give a tab, and end it.

    Raises
    ------
    BrowserError
        If there is no chromium, or it does not answer.
    """
    if PROGRAM is None:
        raise BrowserError("chromium is not installed (Debian: apt-get install chromium)")
    to_browser, write = os.pipe()
    read, from_browser = os.pipe()
    # The shell puts the two ends where chromium looks for them.
    line = f'exec "$0" "$@" 3<&{to_browser} 4>&{from_browser}'
    command = ["bash", "-c", line, PROGRAM, *OPTIONS, f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(
        command, pass_fds=(to_browser, from_browser), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    os.close(to_browser)
    os.close(from_browser)
    try:
        yield Tab(write, read, patience_s)
    finally:
        os.close(write)
        os.close(read)
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
