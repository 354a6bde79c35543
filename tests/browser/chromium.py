"""Drive a headless Chromium by its DevTools protocol, with the standard library alone.

The browser reads commands from file descriptor 3 and writes answers and events to 4: JSON, each
message ended by a NUL byte. Protocol: https://chromedevtools.github.io/devtools-protocol/
"""

import base64
import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

MISSING = "The page tests need Chromium: install it with `sudo apt-get install chromium`."
KEYS = {" ": 32, "Tab": 9, "Enter": 13, "Home": 36, "ArrowLeft": 37, "ArrowRight": 39}  # Windows


def find_chromium():
    """The path of the browser, or None."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)


def given_pages():
    """Pages that the environment variable SCRATCHAUDIO_PAGES names, with : between (Windows: ;)."""
    names = os.environ.get("SCRATCHAUDIO_PAGES", "")
    return [Path(name) for name in names.split(os.pathsep) if name]


class Chromium:
    """One browser process; `open` gives a page in it."""

    def __init__(self, profile):
        ours, theirs = socket.socketpair()

        def connect():  # in the child, before the browser starts
            os.dup2(theirs.fileno(), 3)
            os.set_inheritable(3, True)  # it may have been 3 already, which dup2 leaves as it is
            os.dup2(3, 4)

        self.process = subprocess.Popen(
            [
                find_chromium(),
                "--headless=new",
                "--remote-debugging-pipe",
                f"--user-data-dir={profile}",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-quic",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--no-first-run",
                "--hide-scrollbars",
                "--mute-audio",
                "--autoplay-policy=no-user-gesture-required",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            close_fds=False,  # everything else that Python opened is closed on exec anyway
            preexec_fn=connect,
        )
        theirs.close()
        self.socket, self.buffer, self.events, self.n_sent = ours, b"", [], 0
        self.socket.settimeout(60)

    def receive(self):
        while b"\0" not in self.buffer:
            data = self.socket.recv(1 << 20)
            if not data:
                raise ConnectionError(f"Chromium ended with code {self.process.wait(10)}")
            self.buffer += data
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def send(self, method, session=None, **params):
        """Run one command and return its result; events that arrive meanwhile are kept."""
        self.n_sent += 1
        message = {"id": self.n_sent, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        self.socket.sendall(json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self.n_sent:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def open(self, path, width, height=900, dark=False, script=True):
        return Page(self, path, width, height, dark, script)

    def close(self):
        try:
            self.send("Browser.close")
            self.process.wait(10)
        except (OSError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        finally:
            self.socket.close()


class Page:
    """A tab in which one file has been loaded; `problems` and `requests` tell how that went."""

    def __init__(self, browser, path, width, height, dark, script):
        self.browser = browser
        self.url = path.resolve().as_uri()
        self.target = browser.send("Target.createTarget", url="about:blank")["targetId"]
        attached = browser.send("Target.attachToTarget", targetId=self.target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if width < 600 else 1,
            mobile=width < 600,
        )
        self.send("Emulation.setTouchEmulationEnabled", enabled=width < 600)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])
        self.send("Emulation.setScriptExecutionDisabled", value=not script)
        self.send("Page.navigate", url=self.url)
        self.wait_for("document.readyState === 'complete' && location.protocol === 'file:'")

    def send(self, method, **params):
        return self.browser.send(method, session=self.session, **params)

    def evaluate(self, expression):
        """Return the value of a JavaScript expression; promises are awaited."""
        answer = self.send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait_for(self, expression, seconds=20):
        """Wait until a JavaScript expression is true."""
        end = time.monotonic() + seconds
        while not self.evaluate(expression):
            assert time.monotonic() < end, f"still false after {seconds} s: {expression}"
            time.sleep(0.05)

    def press(self, key):
        code = KEYS.get(key, ord(key[0]))
        typed = {} if len(key) > 1 and key != "Enter" else {"text": "\r" if key == "Enter" else key}
        event = {"key": key, "windowsVirtualKeyCode": code}
        self.send("Input.dispatchKeyEvent", type="keyDown", **event, **typed)
        self.send("Input.dispatchKeyEvent", type="keyUp", **event)

    def click(self, x, y):
        self.drag([(x, y)])

    def drag(self, points):
        """Press the mouse at the first point, move it over the others, and let go."""
        kinds = ["mousePressed"] + ["mouseMoved"] * (len(points) - 1) + ["mouseReleased"]
        button = {"button": "left", "buttons": 1, "clickCount": 1}
        for kind, (x, y) in zip(kinds, [*points, points[-1]], strict=True):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, **button)

    def events(self, method):
        """The parameters of all events of one kind so far."""
        return [
            event["params"]
            for event in self.browser.events
            if event.get("method") == method and event.get("sessionId") == self.session
        ]

    def problems(self):
        """What a reader would see in red in the console."""
        thrown = [
            str(event["exceptionDetails"]) for event in self.events("Runtime.exceptionThrown")
        ]
        logged = [event["entry"]["text"] for event in self.events("Log.entryAdded")]
        printed = [str(event["args"]) for event in self.events("Runtime.consoleAPICalled")]
        return thrown + logged + printed

    def requests(self):
        """Addresses of everything that was asked for, data: and blob: apart."""
        urls = [event["request"]["url"] for event in self.events("Network.requestWillBeSent")]
        return [url for url in urls if not url.startswith(("data:", "blob:"))]

    def screenshot(self, path):
        size = self.send("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 8000)}
        answer = self.send(
            "Page.captureScreenshot", clip={**clip, "scale": 1}, captureBeyondViewport=True
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(answer["data"]))

    def close(self):
        self.browser.send("Target.closeTarget", targetId=self.target)
