"""A headless Chromium, controlled through a pipe by its own protocol (CDP)."""

import base64
import fcntl
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def executable() -> str:
    """Path of the browser; a test that needs it fails without one."""
    path = next((path for name in NAMES if (path := shutil.which(name))), None)
    assert path, "no Chromium is installed: apt-get install chromium (make test does it as root)"
    return path


class Browser:
    """One page of a browser with a window of `width` x `height`; use it as a context manager.

    `probes` is a script that runs in each page before the scripts of the page.
    """

    def __init__(self, probes: str = "", width: int = 1500, height: int = 1000) -> None:
        self.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        ends = [*os.pipe(), *os.pipe()]
        # the browser reads commands at descriptor 3 and writes answers at 4, so ours must differ
        reads, self._out, self._in, writes = (fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in ends)
        for end in ends:
            os.close(end)
        for end in (self._out, self._in):
            os.set_inheritable(end, False)
        command = (
            f"exec 3<&{reads} 4>&{writes} {reads}<&- {writes}>&-; exec {executable()} --headless "
            "--no-sandbox --disable-gpu --use-angle=swiftshader --enable-unsafe-swiftshader "
            "--disable-dev-shm-usage --hide-scrollbars --remote-debugging-pipe --no-first-run "
            f"--user-data-dir={self.profile.name} --window-size={width},{height} about:blank"
        )
        self.process = subprocess.Popen(
            ["bash", "-c", command],
            pass_fds=(reads, writes),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(reads)
        os.close(writes)
        self._next, self._buffer, self._session = 0, b"", ""
        # errors in the console of the page, and exceptions that it did not catch
        self.errors: list[str] = []
        # addresses that the page asked for
        self.requests: list[str] = []
        targets = self.command("Target.getTargets")["targetInfos"]
        target = next(t["targetId"] for t in targets if t["type"] == "page")
        attached = self.command("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.command(f"{domain}.enable")
        self.command("Page.addScriptToEvaluateOnNewDocument", source=probes)

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._out)
        os.close(self._in)
        self.process.terminate()
        self.process.wait(10)
        self.profile.cleanup()

    def command(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command of the protocol and return its result."""
        self._next += 1
        message = {"id": self._next, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._next:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            part = os.read(self._in, 1 << 20)
            assert part, "the browser has ended"
            self._buffer += part
        text, self._buffer = self._buffer.split(b"\0", 1)
        answer: dict[str, Any] = json.loads(text)
        params = answer.get("params", {})
        if answer.get("method") == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description", details["text"]))
        if answer.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(params["entry"]["text"])
        if answer.get("method") == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        return answer

    def open(self, page: Path, fragment: str = "") -> None:
        """Load a page from a file and wait until its scripts have run."""
        self.errors.clear()
        self.requests.clear()
        self.command("Page.navigate", url="about:blank")
        self.command("Page.navigate", url=page.resolve().as_uri() + fragment)
        self.wait_for("document.readyState === 'complete' && location.protocol === 'file:'")

    def js(self, expression: str) -> Any:
        """The value of an expression in the page; waits for promises."""
        answer = self.command(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, expression: str, seconds: float = 90) -> None:
        """Return once an expression is true."""
        end = time.monotonic() + seconds
        while not self.js(f"Boolean({expression})"):
            assert time.monotonic() < end, f"never true: {expression}; {self.errors}"
            time.sleep(0.05)

    def press(self, key: str) -> None:
        """Press a key: a letter, or a name such as ArrowRight."""
        text = {"text": key} if len(key) == 1 else {}
        self.command("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self.command("Input.dispatchKeyEvent", type="keyUp", key=key)

    def place_of(self, selector: str, x: float, y: float) -> tuple[float, float]:
        """Scroll to an element; the place in the window at a share of its width and height."""
        left, top = self.js(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); "
            "e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect(); "
            f"return [b.left + {x} * b.width, b.top + {y} * b.height]; }})()"
        )
        return left, top

    def point_at(self, selector: str, x: float, y: float) -> None:
        """Move the mouse to a share of the width and height of an element."""
        left, top = self.place_of(selector, x, y)
        self.command("Input.dispatchMouseEvent", type="mouseMoved", x=left, y=top)

    def click(self, selector: str, x: float = 0.5, y: float = 0.5, count: int = 1) -> None:
        """Scroll to an element and click `count` times at a share of its width and height."""
        place = self.place_of(selector, x, y)
        for number in range(1, count + 1):
            self.drag(place, place, number)

    def drag(
        self, start: tuple[float, float], end: tuple[float, float], click_count: int = 1
    ) -> None:
        """Press the mouse at one place of the window and release it at another."""
        x, y = start
        self.command("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        mouse = {"button": "left", "buttons": 1, "clickCount": click_count}
        for kind, (x, y) in (
            ("mousePressed", start),
            ("mouseMoved", end),
            ("mouseReleased", end),
        ):
            if kind != "mouseMoved" or start != end:
                self.command("Input.dispatchMouseEvent", type=kind, x=x, y=y, **mouse)

    def picture(self, path: Path) -> None:
        """Save what the window shows as PNG."""
        data = self.command("Page.captureScreenshot", format="png")["data"]
        path.write_bytes(base64.b64decode(data))
