"""Serves a sandbox on a socket of its own."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator

import structlog
import uvicorn

from sandbox.app import create_app
from sandbox.settings import SandboxSettings

log = structlog.get_logger()

_GLANCE = 0.002
"""Seconds between looks at connections that are about to end."""


class _Quiet(uvicorn.Server):
    """A server inside somebody else's event loop: signals stay with their owner, and it goes as soon as it is told.

    uvicorn looks ten times a second whether it shall go and whether its connections are gone: a fifth of a second for
    every sandbox, where tests start hundreds.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._told = asyncio.Event()

    def stop(self) -> None:
        """Take no more connections, end those that are open, and return from `serve`."""
        self.should_exit = True
        self._told.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signal handlers alone."""
        yield

    async def main_loop(self) -> None:
        """Until told to stop; what uvicorn does every second is for headers that the sandbox does not send."""
        await self.on_tick(0)
        await self._told.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, but without its waits: answers that are under way have their time."""
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        try:
            async with asyncio.timeout(self.config.timeout_graceful_shutdown):
                while self.server_state.connections or self.server_state.tasks:  # noqa: ASYNC110 - uvicorn tells nobody
                    await asyncio.sleep(_GLANCE)
        except TimeoutError:
            for task in self.server_state.tasks:
                task.cancel("the sandbox stops")
        await self.lifespan.shutdown()


def serve(settings: SandboxSettings) -> None:
    """Serve until the process is told to stop; logs one line with the address.

    Raises:
        OSError: the address is taken.

    """
    with _bound(settings) as listener:
        log.info("sandbox_listening", url=_url(listener))
        uvicorn.Server(_config(settings)).run(sockets=[listener])


@contextlib.asynccontextmanager
async def running(settings: SandboxSettings) -> AsyncIterator[str]:
    """Serve beside other tasks of this event loop; yields the base URL, with the port that was found.

    Raises:
        OSError: the address is taken.

    """
    with _bound(settings) as listener:
        server = _Quiet(_config(settings))
        task = asyncio.create_task(server.serve(sockets=[listener]), name="sandbox")
        try:
            yield _url(listener)
        finally:
            server.stop()
            await task


def _bound(settings: SandboxSettings) -> socket.socket:
    # With its protocol named, asyncio turns Nagle's algorithm off; without, an answer on a connection that stays open
    # waits 40 ms for an acknowledgement.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(1024)  # from here on clients wait instead of being refused
    except OSError:
        listener.close()
        raise
    return listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{host}:{port}"


def _config(settings: SandboxSettings) -> uvicorn.Config:
    return uvicorn.Config(
        create_app(settings),
        lifespan="on",
        http="h11",
        ws="none",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,  # the sandbox writes its own time
        proxy_headers=False,
        timeout_keep_alive=60,  # clients let go of idle connections first, or a request meets one that is being closed
        timeout_graceful_shutdown=3,
    )
