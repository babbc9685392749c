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


class _Quiet(uvicorn.Server):
    """A server inside somebody else's event loop: signals stay with their owner."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signal handlers alone."""
        yield


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
            server.should_exit = True
            await task


def _bound(settings: SandboxSettings) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
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
        timeout_graceful_shutdown=3,
    )
