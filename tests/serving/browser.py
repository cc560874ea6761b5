"""Chromium without a window, by its DevTools protocol over a pipe.

Nothing but this machine is there for it.

Reference: https://chromedevtools.github.io/devtools-protocol/
"""

import base64
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time


class Browser:
    """One page of a Chromium.

    Example:

    >>> with open_browser() as browser:
    ...     browser.open("http://127.0.0.1:8501/#text=hi")
    ...     browser.wait("document.title != ''")
    """

    def __init__(self, receive, send):
        self._receive, self._send = receive, send
        self._last = 0
        self._session = None
        target = self._call("Target.createTarget", url="about:blank")
        self._session = self._call(
            "Target.attachToTarget", targetId=target["targetId"], flatten=True
        )["sessionId"]
        self._call("Page.enable")

    def _call(self, method, **params):
        self._last += 1
        message = {"id": self._last, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        self._send.write(json.dumps(message).encode() + b"\0")
        self._send.flush()
        while True:
            data = bytearray()
            while (byte := self._receive.read(1)) != b"\0":
                assert byte, "Chromium ended"
                data += byte
            answer = json.loads(data)
            if answer.get("id") == self._last:
                assert "error" not in answer, answer
                return answer["result"]

    def open(self, url):
        """Go to an address; one that differs behind `#` is loaded, too."""
        self._call("Page.navigate", url="about:blank")
        self._call("Page.navigate", url=url)

    def run(self, expression):
        """The value of a JavaScript expression."""
        result = self._call(
            "Runtime.evaluate",
            expression=expression,
            awaitPromise=True,
            returnByValue=True,
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait(self, expression, seconds=60):
        """Until an expression is true, which is returned."""
        end = time.monotonic() + seconds
        while True:
            with contextlib.suppress(AssertionError):
                if value := self.run(expression):
                    return value
            assert time.monotonic() < end, (expression, self.html())
            time.sleep(0.05)

    def settled(self):
        """Until nothing is asked any more; the page as HTML."""
        self.wait(
            "document.querySelector('#name')?.textContent"
            " && document.querySelector('#asking').ariaBusy == 'false'"
        )
        return self.html()

    def html(self):
        return self.run("document.documentElement.outerHTML")

    def type(self, text, into="textarea"):
        self.run(f"document.querySelector({json.dumps(into)}).focus()")
        self._call("Input.insertText", text=text)

    def key(self, key, ctrl=False):
        codes = {"Enter": 13, "Tab": 9, "ArrowRight": 39}
        for kind in ("rawKeyDown", "keyUp"):
            self._call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=codes[key],
                modifiers=2 if ctrl else 0,
            )

    def click(self, selector):
        self.run(f"document.querySelector({json.dumps(selector)}).click()")

    def picture(self, path, width=1100):
        """A PNG of the whole page."""
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=300,
            deviceScaleFactor=1,
            mobile=False,
        )
        height = self.run("document.documentElement.scrollHeight")
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        data = self._call("Page.captureScreenshot", format="png")["data"]
        path.write_bytes(base64.b64decode(data))


@contextlib.contextmanager
def open_browser():
    """A `Browser`, None where there is no Chromium (Debian's package)."""
    chromium = shutil.which("chromium")
    if chromium is None:
        yield None
        return
    to_it, ours = os.pipe()
    theirs, from_it = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [
                # Chromium reads from 3 and writes to 4.
                *("bash", "-c", f'exec "$@" 3<&{to_it} 4>&{from_it}', "bash"),
                *(chromium, "--headless=new", "--no-sandbox"),
                *("--disable-gpu", "--remote-debugging-pipe"),
                *(f"--user-data-dir={profile}", "--lang=en"),
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            ],
            pass_fds=(to_it, from_it),
            stderr=subprocess.DEVNULL,
        )
        os.close(to_it)
        os.close(from_it)
        try:
            with os.fdopen(theirs, "rb", 2**16) as receive:
                with os.fdopen(ours, "wb") as send:
                    yield Browser(receive, send)
        finally:
            process.terminate()
            process.wait(30)
