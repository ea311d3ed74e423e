"""A headless Chromium through two pipes, as its DevTools protocol allows: no driver and no library between.

https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import base64
import json
import os
import select
import subprocess
import time
from pathlib import Path
from typing import Any, Self

CHROMIUM = Path("/usr/bin/chromium")
PATIENCE_S = 30.0


class Browser:
    """One page. What the page reports as an error (of script, or of its security policy) is kept in `faults`."""

    def __init__(self, folder: Path) -> None:
        ours, theirs = os.pipe(), os.pipe()
        self._write, self._read = ours[1], theirs[0]
        # Chromium reads its descriptor 3 and writes 4; the shell puts ours there.
        command = [
            "bash",
            "-c",
            f'exec 3<&{ours[0]} 4>&{theirs[1]}; exec "$@"',
            "bash",
            str(CHROMIUM),
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--no-proxy-server",
            # The local cloud's authority is proven by the other tests; a browser takes no file of authorities.
            "--ignore-certificate-errors",
            f"--user-data-dir={folder}",
            "--window-size=1000,900",
            "--remote-debugging-pipe",
            "about:blank",
        ]
        self._process = subprocess.Popen(
            command,
            pass_fds=(ours[0], theirs[1]),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(ours[0])
        os.close(theirs[1])
        self.faults: list[str] = []
        self._buffer, self._last, self._session = b"", 0, ""
        try:
            self._attach()
        except BaseException:
            self.close()
            raise

    def _attach(self) -> None:
        (target,) = [
            info for info in self._call("Target.getTargets")["targetInfos"] if info["type"] == "page"
        ]
        attached = self._call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "DOM"):
            self._call(f"{domain}.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE_S)
        os.close(self._write)
        os.close(self._read)

    def open(self, url: str) -> None:
        self._call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def evaluate(self, expression: str) -> Any:
        answer = self._call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, condition: str) -> None:
        """Until a condition holds in the page."""
        deadline = time.monotonic() + PATIENCE_S
        while not self.evaluate(f"Boolean({condition})"):
            assert time.monotonic() < deadline, f"never: {condition}; {self.faults}"
            time.sleep(0.05)

    def text(self, selector: str) -> str:
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)}).textContent"))

    def fill(self, selector: str, value: str) -> None:
        """Type into a field, or choose an option."""
        found = f"document.querySelector({json.dumps(selector)})"
        self.evaluate(f"{found}.value = {json.dumps(value)}; {found}.dispatchEvent(new Event('change'))")

    def drag(self, selector: str, points: list[tuple[float, float]]) -> None:
        """Press at the first of `points` (shares of the element's box), move along them, let go."""
        box = self.evaluate(
            f"(box => [box.x, box.y, box.width, box.height])(document.querySelector({json.dumps(selector)})"
            ".getBoundingClientRect())"
        )
        places = [(box[0] + x * box[2], box[1] + y * box[3]) for x, y in points]
        kinds = ["mousePressed", *["mouseMoved"] * (len(places) - 1)]
        for kind, (x, y) in zip(kinds, places, strict=True):
            self._mouse(kind, x, y)
        self._mouse("mouseReleased", *places[-1])

    def choose_file(self, selector: str, path: Path) -> None:
        root = self._call("DOM.getDocument")["root"]["nodeId"]
        node = self._call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self._call("DOM.setFileInputFiles", files=[str(path)], nodeId=node)

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self._call("Page.captureScreenshot")["data"]))

    def _mouse(self, kind: str, x: float, y: float) -> None:
        self._call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._last += 1
        asked: dict[str, Any] = {"id": self._last, "method": method, "params": parameters}
        if self._session:
            asked["sessionId"] = self._session
        os.write(self._write, json.dumps(asked).encode() + b"\0")
        while True:
            said = self._receive()
            if said.get("id") == self._last:
                assert "error" not in said, (method, said["error"])
                result: dict[str, Any] = said["result"]
                return result
            self._note(said)

    def _note(self, said: dict[str, Any]) -> None:
        if said.get("method") == "Runtime.exceptionThrown":
            self.faults.append(str(said["params"]["exceptionDetails"]))
        elif said.get("method") == "Log.entryAdded" and said["params"]["entry"]["level"] == "error":
            self.faults.append(said["params"]["entry"]["text"])

    def _receive(self) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE_S
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0.0, deadline - time.monotonic()))
            part = os.read(self._read, 1 << 20) if ready else b""
            assert part, "Chromium says nothing"
            self._buffer += part
        raw, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(raw)
        return message
