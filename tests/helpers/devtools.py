"""A page in headless Chromium that a test drives, through the DevTools protocol over a pipe."""

import base64
import contextlib
import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from tests.helpers.browser import CHROMIUM

# The browser reads commands from file descriptor 3 and writes answers to 4.
_START = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
)
_FIRST_FREE = 10


class Page:
    """A tab of a browser."""

    def __init__(self, commands: IO[bytes], answers: IO[bytes]):
        """Takes the pipes to and from the browser."""
        self._commands, self._answers = commands, answers
        self._number, self._session = 0, None
        self.requests: list[str] = []  # addresses that the page has asked for
        self.messages: list[str] = []  # errors of its console
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "DOM"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Sends a command and returns its result; fails with the browser's message."""
        self._number += 1
        command = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            command["sessionId"] = self._session
        self._commands.write(json.dumps(command).encode() + b"\0")
        while True:
            answer = json.loads(self._read())
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self._note(answer.get("method"), answer.get("params", {}))

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, awaited if it is a promise; fails if it throws."""
        result = self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait_for(self, expression: str, seconds: float = 300) -> Any:
        """Evaluates until the value is true, and returns it; fails after many seconds."""
        end = time.monotonic() + seconds
        while not (value := self.evaluate(expression)):
            assert time.monotonic() < end, f"{expression} is still false in {self.evaluate('document.body.innerText')}"
            time.sleep(0.05)
        return value

    def open(self, address: str, width: int = 1280, height: int = 1000) -> None:
        """Opens a page in a window of this size in pixels."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.send("Emulation.setDeviceMetricsOverride", **metrics)
        self.send("Page.navigate", url=address)

    def choose_file(self, selector: str, path: Path) -> None:
        """Gives a file to the input field that a CSS selector names."""
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        field = self.send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.send("DOM.setFileInputFiles", files=[str(path)], nodeId=field)

    def screenshot(self, path: Path) -> None:
        """Writes a PNG of the window."""
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot")["data"]))

    def _read(self) -> bytes:
        answer = bytearray()
        while (byte := self._answers.read(1)) not in (b"\0", b""):
            answer += byte
        assert byte, "the browser has ended"
        return bytes(answer)

    def _note(self, event: str | None, values: dict[str, Any]) -> None:
        if event == "Network.requestWillBeSent":
            self.requests.append(values["request"]["url"])
        elif event == "Runtime.exceptionThrown":
            self.messages.append(str(values["exceptionDetails"]))
        elif event == "Log.entryAdded" and values["entry"]["level"] == "error":
            self.messages.append(f"{values['entry']['text']} {values['entry'].get('url', '')}")


@contextlib.contextmanager
def browser(profile: Path, options: Sequence[str] = ()) -> Iterator[Page]:
    """Starts Chromium with an empty page; `options` are more of its command line."""
    assert CHROMIUM is not None
    to_browser, from_browser = os.pipe(), os.pipe()
    # A descriptor that is 3 or 4 by chance would be overwritten before it is copied.
    ends = [fcntl.fcntl(end, fcntl.F_DUPFD, _FIRST_FREE) for end in (to_browser[0], from_browser[1])]
    for end in (to_browser[0], from_browser[1]):
        os.close(end)
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", f"--user-data-dir={profile}"]
    process = subprocess.Popen(
        [sys.executable, "-c", _START, *map(str, ends), CHROMIUM, *flags, *options],
        pass_fds=ends,
        stderr=subprocess.DEVNULL,
    )
    for end in ends:
        os.close(end)
    try:
        with os.fdopen(to_browser[1], "wb", buffering=0) as commands, os.fdopen(from_browser[0], "rb") as answers:
            yield Page(commands, answers)
    finally:
        process.terminate()
        process.wait(60)
