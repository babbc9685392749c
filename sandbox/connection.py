"""The outermost layer: the Date header tells the sandbox's time, and a connection can be cut without an answer."""

from collections.abc import Awaitable, Callable
from email.utils import format_datetime
from typing import Protocol, cast

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sandbox.clock import Clock
from sandbox.faults import CUT


class _Transport(Protocol):
    def close(self) -> None: ...


class _Cycle(Protocol):
    """The object behind uvicorn's ``send``, for HTTP/1.1 in both of its implementations."""

    transport: _Transport


class Connection:
    """Wraps the application at the socket's side."""

    def __init__(self, app: ASGIApp, clock: Clock) -> None:
        self._app = app
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, the sandbox's time in its Date header."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                date = format_datetime(self._clock.now(), usegmt=True).encode()
                message = {**message, "headers": [*message.get("headers", ()), (b"date", date)]}
            await send(message)

        scope = {**scope, "extensions": {**(scope.get("extensions") or {}), CUT: _cutting(receive, send)}}
        await self._app(scope, receive, dated)


def _cutting(receive: Receive, send: Send) -> Callable[[], Awaitable[None]]:
    async def cut() -> None:
        # ASGI has no word for this, so the transport is reached behind uvicorn's own `send`. Closing sends FIN after
        # the request was read: the client sees an answer that never came, not a reset.
        cycle = cast("_Cycle | None", getattr(send, "__self__", None))
        if cycle is None or not hasattr(cycle, "transport"):
            raise RuntimeError("a connection can only be cut on a real socket: serve the sandbox with sandbox.serve")
        cycle.transport.close()
        while (await receive())["type"] != "http.disconnect":
            pass

    return cut
