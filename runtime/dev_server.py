"""A real Temporal server on this machine, as our own subprocess.

Not the SDK's: a script that used that one was seen to die at exit. Loopback only, since it asks nobody who they are.
"""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from temporalio.common import SearchAttributeKey
from temporalio.service import ConnectConfig, RPCError, ServiceClient

from domain.errors import SetupError
from runtime import supervise
from runtime.temporal import type_name
from runtime.temporal_binary import Progress, find_temporal, to_stderr

HOST = "127.0.0.1"
FAST = (
    'history.timerProcessorMaxTimeShift="1ms"',  # default 1 s: two retries after 100 ms took 2 s
    "history.timerProcessorMaxPollRPS=1000",  # default 20: thirty skipped timers took 5 s, now 0.6 s
    "history.transferProcessorMaxPollRPS=1000",  # default 20: signal to closed took 50 ms, now 8 ms
    "frontend.WorkflowTimeSkippingEnabled=true",
)
"""Dynamic configuration, ``key=JSON``. The defaults spare a shared server; this one has a single shard and user."""
_PRAGMAS = ("journal_mode=WAL", "synchronous=NORMAL")  # 39 workflows a second in place of 18

_ATTEMPTS = 3
_READY_S = 60.0
_QUIET_S = 2.0
_POLL_S = 0.05
_STOP_S = supervise.GRACE_S + 5


@dataclass(frozen=True)
class _Launch:
    """One way to start the server; ports are fixed here."""

    binary: Path
    port: int
    ui_port: int | None
    data: Path | None
    codec_endpoint: str | None
    attributes: tuple[SearchAttributeKey[Any], ...]
    extra: tuple[str, ...]

    def command(self) -> list[str]:
        """The command line."""
        words = [str(self.binary), "server", "start-dev", "--ip", HOST, "--port", str(self.port)]
        words += ["--log-level", "warn", "--ui-disable-news-fetch"]
        words += ["--headless"] if self.ui_port is None else ["--ui-port", str(self.ui_port)]
        if self.codec_endpoint:
            words += ["--ui-codec-endpoint", self.codec_endpoint]
        for value in FAST:
            words += ["--dynamic-config-value", value]
        if self.data is not None:
            words += ["--db-filename", str(self.data)]
            for pragma in _PRAGMAS:
                words += ["--sqlite-pragma", pragma]
        for key in self.attributes:
            words += ["--search-attribute", f"{key.name}={type_name(key)}"]
        return [*words, *self.extra]


class DevServer:
    """A dev server that runs until ``stop``, until the ``async with`` block ends, or until this process is gone."""

    def __init__(self, launch: _Launch, process: "subprocess.Popen[bytes]", pid: int, log: Path) -> None:
        self._launch, self._process, self._pid, self._log = launch, process, pid, log

    @classmethod
    async def start(
        cls,
        *,
        data: Path | None = None,
        port: int | None = None,
        ui: bool = False,
        ui_port: int | None = None,
        codec_endpoint: str | None = None,
        search_attributes: Sequence[SearchAttributeKey[Any]] = (),
        extra: Sequence[str] = (),
        binary: Path | None = None,
        progress: Progress = to_stderr,
    ) -> Self:
        """Start a server and wait until it serves.

        ``data`` is a SQLite file that outlives the server; without it everything is in memory. Ports that are not
        given are free ones. ``extra`` are more words for ``temporal server start-dev``. Finding the server program
        may build it first, which takes minutes and is told to ``progress``.

        Raises ``SetupError`` when there is no program or it does not come up; the text ends with what it said.
        """
        program = await asyncio.to_thread(find_temporal, progress=progress) if binary is None else binary
        for attempt in range(1, _ATTEMPTS + 1):
            launch = _Launch(
                binary=program,
                port=_bindable(port),
                ui_port=_bindable(ui_port) if ui else None,
                data=data,
                codec_endpoint=codec_endpoint,
                attributes=tuple(search_attributes),
                extra=tuple(extra),
            )
            server = cls(launch, *await asyncio.to_thread(_spawn, launch))
            try:
                await server._until_serving(progress)
            except SetupError:
                await server.stop()
                ports_are_ours_to_choose = port is None and (not ui or ui_port is None)
                if attempt == _ATTEMPTS or not ports_are_ours_to_choose:
                    raise  # else somebody may have taken the free port in between: take another
            except BaseException:
                await server.stop()
                raise
            else:
                return server
        raise AssertionError("unreachable")

    @property
    def address(self) -> str:
        """``host:port`` for clients."""
        return f"{HOST}:{self._launch.port}"

    @property
    def ui_url(self) -> str | None:
        """Temporal UI, when it was asked for."""
        return None if self._launch.ui_port is None else f"http://{HOST}:{self._launch.ui_port}"

    @property
    def pid(self) -> int:
        """Process id of the server itself."""
        return self._pid

    @property
    def log(self) -> Path:
        """What the server writes; goes away when the server is stopped."""
        return self._log

    def is_running(self) -> bool:
        """Whether the process is alive."""
        return self._process.poll() is None

    async def ended(self) -> None:
        """Wait until the process is gone, by whatever cause."""
        await asyncio.to_thread(self._process.wait)

    async def stop(self) -> None:
        """End the server: asked first, killed when it does not listen. Repeating is harmless.

        One that keeps nothing has nothing to bring into order, for which the server takes two seconds: it is killed.
        """
        await asyncio.shield(asyncio.to_thread(self._stop))

    def _stop(self) -> None:
        if self._launch.data is None and self.is_running():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._log.unlink(missing_ok=True)

    async def __aenter__(self) -> Self:
        """Return the running server."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop it."""
        await self.stop()

    async def _until_serving(self, progress: Progress) -> None:
        started = time.monotonic()
        told = False
        while time.monotonic() - started < _READY_S:
            if not self.is_running():
                raise SetupError(f"the Temporal dev server ended while starting. {self._last_words()}")
            if await _serves(self.address):
                return
            if not told and time.monotonic() - started > _QUIET_S:
                told = True
                progress(f"waiting for the Temporal dev server on {self.address} (usually under a second)")
            await asyncio.sleep(_POLL_S)
        raise SetupError(
            f"the Temporal dev server did not answer on {self.address} within {_READY_S:.0f} s. {self._last_words()}"
        )

    def _last_words(self) -> str:
        text = self._log.read_text(errors="replace")[-2000:].strip()
        return f"It said:\n{text}" if text else "It said nothing."


def _spawn(launch: _Launch) -> tuple["subprocess.Popen[bytes]", int, Path]:
    if launch.data is not None:
        launch.data.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix="rapport-temporal-", suffix=".log")
    os.close(handle)
    # TEMPORAL_* is for clients; the server's own command line must not be bent by it
    environ = {key: value for key, value in os.environ.items() if not key.startswith("TEMPORAL_")}
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and script
        [sys.executable, "-I", "-S", str(Path(supervise.__file__)), name, *launch.command()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environ,
        start_new_session=True,  # Ctrl-C on the terminal is for us; we end the server in order
    )
    assert process.stdout is not None  # noqa: S101 - asked for above
    first = process.stdout.readline()
    if not first:
        process.communicate()
        said = Path(name).read_text(errors="replace").strip()
        Path(name).unlink()
        raise SetupError(f"the Temporal dev server cannot be started: {said or f'status {process.returncode}'}")
    return process, int(first), Path(name)


def _bindable(port: int | None) -> int:
    """The port, or a free one. Raises ``SetupError`` for one that is taken: another server would answer there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does: only listeners count
        try:
            probe.bind((HOST, port or 0))
        except OSError as error:
            raise SetupError(
                f"port {port} of {HOST} cannot be used for the Temporal dev server ({error.strerror}): "
                "end what listens there, or set TEMPORAL_ADDRESS to use the server that runs there already"
            ) from None
        bound: int = probe.getsockname()[1]
        return bound


async def _serves(address: str) -> bool:
    host, port = address.rsplit(":", 1)
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    try:
        client = await ServiceClient.connect(ConnectConfig(target_host=address))
        return await client.check_health()
    except (RPCError, RuntimeError):
        return False


@dataclass(frozen=True)
class RunningServer:
    """A Temporal server to connect to. Without ``address`` the standard settings of the environment say where."""

    address: str | None
    ui_url: str | None


@asynccontextmanager
async def temporal_server(
    *,
    data: Path | None = None,
    ui: bool = False,
    ui_port: int | None = None,
    codec_endpoint: str | None = None,
    search_attributes: Sequence[SearchAttributeKey[Any]] = (),
    progress: Progress = to_stderr,
) -> AsyncIterator[RunningServer]:
    """The server that ``TEMPORAL_ADDRESS`` names, which we neither start nor stop, else a dev server of ours.

    On a server that we did not start the caller registers the search attributes (``ensure_search_attributes``).
    """
    if os.environ.get("TEMPORAL_ADDRESS"):
        yield RunningServer(address=None, ui_url=None)
        return
    async with await DevServer.start(
        data=data,
        ui=ui,
        ui_port=ui_port,
        codec_endpoint=codec_endpoint,
        search_attributes=search_attributes,
        progress=progress,
    ) as server:
        yield RunningServer(address=server.address, ui_url=server.ui_url)
