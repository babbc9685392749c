"""A headless Chromium on its own DevTools protocol over two pipes: no driver, no library, no open port.

The protocol: one JSON message after another, each ended by a zero byte (``--remote-debugging-pipe``, which reads file
descriptor 3 and writes to 4).
"""

import asyncio
import base64
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

NO_BROWSER = "Temporal UI was not looked at: no Chromium is installed (the variable CHROMIUM names one)"
PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
WIDTH, HEIGHT, LEFT = 1440, 900, 205
PATIENCE_S = 120.0
"""Far more than it takes, since a busy machine is no defect."""
_LOOK_S = 0.25
_STILL_LOOKS = 6
_MOST = 64 * 1024 * 1024
"""Bytes in one message: a picture of a long page."""

_AT_3_AND_4 = """
import fcntl, os, sys
pipes = [fcntl.fcntl(int(one), fcntl.F_DUPFD, 10) for one in sys.argv[1:3]]
for place, pipe in enumerate(pipes, 3):
    os.dup2(pipe, place)
os.execvp(sys.argv[3], sys.argv[3:])
"""
"""Puts two descriptors where the browser looks for them, then becomes the browser."""

Message = dict[str, Any]
"""As the protocol writes it."""


def find_chromium() -> str | None:
    """The browser's program; None where none is installed. ``CHROMIUM`` names another."""
    named = os.environ.get("CHROMIUM")
    return named or next((found for name in PROGRAMS if (found := shutil.which(name))), None)


class ProtocolRefused(Exception):
    """The browser did not do what it was asked."""


class Page:
    """One tab."""

    def __init__(self, browser: "Browser", session: str) -> None:
        self._browser, self._session = browser, session

    async def open(self, url: str) -> None:
        """Go to ``url``; what the page fetches afterwards is waited for by its text."""
        await self._call("Page.navigate", url=url)

    async def text(self) -> str:
        """All that a reader sees, the whole length of the page, its frames after it: Markdown is drawn in frames."""
        tree = (await self._call("Page.getFrameTree"))["frameTree"]
        frames = [tree, *tree.get("childFrames", [])]
        texts = [await self._text_of(frame["frame"]["id"]) for frame in frames]
        return "\n".join(texts).replace("\xa0", " ")

    async def _text_of(self, frame: str) -> str:
        try:
            world = await self._call("Page.createIsolatedWorld", frameId=frame)
            answer = await self._call(
                "Runtime.evaluate",
                expression="document.body ? document.body.innerText : ''",
                contextId=world["executionContextId"],
            )
        except ProtocolRefused:  # the frame went away while we looked
            return ""
        return str(answer["result"].get("value", ""))

    async def reads(self, *wanted: str) -> str:
        """Wait until the page's text holds all of ``wanted``; return the text."""
        text = ""
        for _ in range(int(PATIENCE_S / _LOOK_S)):
            text = await self.text()
            if all(one in text for one in wanted):
                return text
            await asyncio.sleep(_LOOK_S)
        missing = [one for one in wanted if one not in text]
        raise AssertionError(f"the page never said {missing}; it said:\n{text}")

    async def settles(self, wanted: str) -> str:
        """Wait until the page says ``wanted`` and its text has stood still for a while; return the text."""
        text = await self.reads(wanted)
        still = 0
        while still < _STILL_LOOKS:
            await asyncio.sleep(_LOOK_S)
            before, text = text, await self.text()
            still = still + 1 if _without_clock(text) == _without_clock(before) else 0
        return text

    async def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        answer = await self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise AssertionError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    async def send_headers(self, **headers: str) -> None:
        """Add these to every request, as a login in front of the page would."""
        await self._call("Network.enable")
        await self._call("Network.setExtraHTTPHeaders", headers=headers)

    async def picture(self, file: Path, *, width: int = WIDTH, height: int = HEIGHT) -> None:
        """Write what the page shows as PNG, without the UI's menu on the left."""
        await self._call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )
        await asyncio.sleep(0.5)  # the page lays itself out anew
        clip = {"x": LEFT, "y": 0, "width": width - LEFT, "height": height, "scale": 1}
        answer = await self._call("Page.captureScreenshot", format="png", clip=clip)
        file.write_bytes(base64.b64decode(answer["data"]))

    async def close(self) -> None:
        """Close the tab."""
        await self._call("Page.close")

    async def _call(self, method: str, **parameters: Any) -> Message:
        return await self._browser.call(method, self._session, **parameters)


class Browser:
    """One running Chromium."""

    def __init__(self, answers: asyncio.StreamReader, questions: asyncio.StreamWriter) -> None:
        self._answers, self._questions = answers, questions
        self._waiting: dict[int, asyncio.Future[Message]] = {}
        self._last = 0

    async def page(self) -> Page:
        """A new tab. Tabs share what was fetched before, so only the first is slow."""
        made = await self.call("Target.createTarget", url="about:blank")
        joined = await self.call("Target.attachToTarget", targetId=made["targetId"], flatten=True)
        page = Page(self, joined["sessionId"])
        await page.evaluate("1")
        return page

    async def call(self, method: str, session: str = "", **parameters: Any) -> Message:
        """Ask one thing of the protocol."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters}
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[self._last] = future
        self._questions.write(json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0")
        await self._questions.drain()
        answer = await asyncio.wait_for(future, PATIENCE_S)
        if "error" in answer:
            raise ProtocolRefused(f"{method}: {answer['error']}")
        return dict(answer["result"])

    async def listen(self) -> None:
        """Read answers until the browser ends; events are of no interest."""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                message = json.loads((await self._answers.readuntil(b"\0"))[:-1])
                waiting = self._waiting.pop(message.get("id", 0), None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(message)
        for waiting in self._waiting.values():
            waiting.cancel()


def _without_clock(text: str) -> str:
    """The page counts the seconds of what runs."""
    return re.sub(r"\d", "", text)


@asynccontextmanager
async def chromium(program: str) -> AsyncIterator[Browser]:
    """Run a browser with an empty profile; end it and throw the profile away."""
    with tempfile.TemporaryDirectory(prefix="rapport-chromium-", ignore_cleanup_errors=True) as profile:
        in_read, in_write = os.pipe()
        out_read, out_write = os.pipe()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-ISc",
            _AT_3_AND_4,
            str(in_read),
            str(out_write),
            program,
            "--headless=new",
            "--remote-debugging-pipe",
            "--no-sandbox",  # a container's root has none
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-extensions",
            "--disable-features=IsolateSandboxedIframes",  # so that a frame is read where its page is
            "--no-first-run",
            "--no-proxy-server",
            "--hide-scrollbars",
            "--lang=en-US",
            f"--user-data-dir={profile}",
            f"--window-size={WIDTH},{HEIGHT}",
            "about:blank",
            pass_fds=(in_read, out_write),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, "TZ": "UTC", "DBUS_SESSION_BUS_ADDRESS": "disabled:"},
        )
        os.close(in_read)
        os.close(out_write)
        loop = asyncio.get_running_loop()
        answers = asyncio.StreamReader(limit=_MOST)
        heard, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(answers), os.fdopen(out_read, "rb", buffering=0)
        )
        said, protocol = await loop.connect_write_pipe(
            asyncio.streams.FlowControlMixin, os.fdopen(in_write, "wb", buffering=0)
        )
        browser = Browser(answers, asyncio.StreamWriter(said, protocol, None, loop))
        listening = asyncio.create_task(browser.listen())
        try:
            yield browser
        finally:
            with suppress(Exception):
                await asyncio.wait_for(browser.call("Browser.close"), 5)
            said.close()
            with suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), 5)
            if process.returncode is None:
                process.kill()
                await process.wait()
            heard.close()
            await listening
