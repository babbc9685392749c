"""The processes of the demo: started, watched, started again when they die, ended in order."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from domain.errors import SetupError
from runtime import supervise

STOP_S = 30.0
"""Longer than a worker's grace for requests in hand."""


class Child:
    """One process of ours, as ``rapport NAME`` would run it, with its output in a file. It never outlives the demo."""

    def __init__(self, name: str, words: list[str], environment: Mapping[str, str], log: Path) -> None:
        self.name, self.log = name, log
        self._words, self._environment = words, environment
        self._process: asyncio.subprocess.Process | None = None
        self.pid = 0
        self.restarts = 0

    async def start(self) -> None:
        """Start it, appending to its log. A supervisor ends it when we are gone, however we went."""
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", supervise.__file__, str(self.log)),
            *(sys.executable, "-m", "starter.cli", *self._words),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, **self._environment},
            start_new_session=True,  # Ctrl-C is for the demo, which then ends them in order
        )
        if self._process.stdout is not None:
            self.pid = int(await self._process.stdout.readline() or 0)

    def is_dead(self) -> bool:
        """Whether it has ended."""
        return self._process is not None and self._process.returncode is not None

    async def revive(self) -> bool:
        """Start it again if it has died. True when it had."""
        if not self.is_dead():
            return False
        self.restarts += 1
        await self.start()
        return True

    async def stop(self) -> None:
        """Ask it to end; end it when it does not listen."""
        if self._process is None or self.is_dead():
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        try:
            await asyncio.wait_for(self._process.wait(), STOP_S)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            await self._process.wait()

    def last_words(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-1500:].strip() if self.log.exists() else ""


async def wait_for_words(child: Child, words: str, limit_s: float = 60) -> None:
    """Wait until a child has written ``words`` to its log. Raises ``SetupError`` like ``wait_for_port``."""
    for _ in range(int(limit_s / 0.05)):
        if child.is_dead():
            raise SetupError(f"the {child.name} ended while starting. It said:\n{child.last_words()}")
        if child.log.exists() and words in child.log.read_text(errors="replace"):
            return
        await asyncio.sleep(0.05)
    raise SetupError(f"the {child.name} does not get ready. It said:\n{child.last_words()}")


async def wait_for_port(child: Child, port: int, limit_s: float = 60) -> None:
    """Wait until a child listens. Raises ``SetupError`` with its last words when it ends or stays silent."""
    for _ in range(int(limit_s / 0.05)):
        if child.is_dead():
            raise SetupError(f"the {child.name} ended while starting. It said:\n{child.last_words()}")
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            await writer.wait_closed()
            return
        await asyncio.sleep(0.05)
    raise SetupError(f"the {child.name} does not listen on port {port}. It said:\n{child.last_words()}")


def free_port(wish: int = 0) -> int:
    """A port that nobody listens on: the wished one where it is free."""
    for port in (wish, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise SetupError("this machine has no free port")
